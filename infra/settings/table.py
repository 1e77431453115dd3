"""The table of all settings in Markdown: names, defaults, who uses them, and the docstrings of the fields."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo

from infra.settings.base import Settings
from infra.settings.edge import EdgeSettings
from infra.settings.functions import FunctionSettings
from infra.settings.worker import WorkerSettings

USERS: Final[dict[str, type[Settings]]] = {"E": EdgeSettings, "W": WorkerSettings, "F": FunctionSettings}
"""The settings classes, by the letter that stands for them in the table."""

_BEGIN: Final = "<!-- settings: written by `make tables` -->\n"
_END: Final = "<!-- end of settings -->\n"


def table() -> str:
    """Return the lines of the table."""
    return "".join(f"{line}\n" for line in _lines())


def with_table(page: str) -> str:
    """Return the page with its table regenerated. Raises ValueError without markers."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page has no {_BEGIN.strip()} ... {_END.strip()}")
    return f"{before}{begin}\n{table()}\n{end}{after}"


def write(page: Path) -> None:
    """Replace the table of a page."""
    page.write_text(with_table(page.read_text()))


def _lines() -> Iterator[str]:
    yield "| `BBGRAM_` | default | used by | meaning |"
    yield "| --- | --- | --- | --- |"
    for name in dict.fromkeys(name for settings in USERS.values() for name in settings.model_fields):
        users = [letter for letter, settings in USERS.items() if name in settings.model_fields]
        fields = {letter: USERS[letter].model_fields[name] for letter in users}
        meaning = " ".join((fields[users[0]].description or "").split())
        yield f"| `{name.upper()}` | {_defaults(fields)} | {' '.join(users)} | {meaning} |"


def _defaults(fields: dict[str, FieldInfo]) -> str:
    """Return the default of the first user, then those that differ: `required; F: none`."""
    defaults = {letter: _default(field) for letter, field in fields.items()}
    usual = next(iter(defaults.values()))
    others = [f"{letter}: {default}" for letter, default in defaults.items() if default != usual]
    return "; ".join([usual, *others])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory:
        return "derived"
    match field.default:
        case None | ():
            return "none"
        case bool() as value:
            return f"`{str(value).lower()}`"
        case Enum() as value:
            return f"`{value.value}`"
        case float() as value:
            return f"`{value:.10g}`"
        case tuple() as value:
            return f"`{','.join(value)}`"
        case value:
            return f"`{value}`"
