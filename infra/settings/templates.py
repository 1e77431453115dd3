"""The texts of notifications in the languages of devices: a built-in English set, and those of a file."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from gettext import c2py  # reads the plural rules of all gettext catalogues
from pathlib import Path
from string import Formatter
from typing import Any, Final

from infra.wire.languages import is_language

_CHARS_MAX: Final = 200
"""The most characters of one template, so that a payload has room for what it names."""
_TRIED_COUNTS: Final = range(1_000)
_PLURAL: Final = "n != 1"


@dataclass(frozen=True, slots=True)
class Forms:
    """A template, in one form or in one for each plural of its language."""

    texts: tuple[str, ...]
    plural: Callable[[int], int]

    def fill(self, count: int, **values: str) -> str:
        """Return the form for a count, with its placeholders filled in."""
        index = min(self.plural(count), len(self.texts) - 1)
        return self.texts[index].format(count=count, **values)


@dataclass(frozen=True, slots=True)
class Templates:
    """What notifications say in one language."""

    messages: Forms
    """How many there are: `{count}`."""
    title: Forms
    """`{messages}`, as above, and `{senders}`, as below."""
    body: Forms
    """`{sender}` and `{text}` of the newest message."""
    two: Forms
    """Two senders: `{first}` and `{second}`."""
    more: Forms
    """More senders: `{first}`, `{second}`, and the `{count}` of the others."""
    deleted: Forms
    """Stands for a notification all of whose messages were unsent."""


_PLACEHOLDERS: Final[Mapping[str, frozenset[str]]] = {
    "messages": frozenset({"count"}),
    "title": frozenset({"count", "messages", "senders"}),
    "body": frozenset({"sender", "text"}),
    "two": frozenset({"first", "second"}),
    "more": frozenset({"count", "first", "second"}),
    "deleted": frozenset(),
}


class Languages:
    """The templates of every language that there is, and of the default one."""

    def __init__(self, templates: Mapping[str, Templates], default: str) -> None:
        self._templates = {language.lower(): templates[language] for language in templates}
        self._default = self._templates[default.lower()]

    def find(self, language: str | None) -> Templates:
        """Return the templates for a tag: `pt-BR`, or else `pt`, or else the default (RFC 4647, 3.4)."""
        tag = (language or "").lower()
        while tag:
            if tag in self._templates:
                return self._templates[tag]
            tag = tag.rpartition("-")[0]
        return self._default


@cache
def load_languages(path: str | None) -> Languages:
    """Return the languages of a file, and English. Raises ValueError, in one line, if it is wrong."""
    if path is None:
        return Languages({"en": english()}, "en")
    try:
        given = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__})") from None
    except ValueError as error:
        raise ValueError(f"{path} is not TOML: {_shown(error)}") from None
    try:
        return _languages(given)
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None


@cache
def english() -> Templates:
    """Return the built-in set."""
    return _templates(
        {
            "messages": ["Message", "{count} messages"],
            "title": "{messages} from {senders}",
            "body": "{sender}: {text}",
            "two": "{first} and {second}",
            "more": "{first}, {second} and {count} more",
            "deleted": "Message deleted",
        }
    )


def _languages(given: dict[str, Any]) -> Languages:
    default = given.pop("default", "en")
    templates = {"en": english()}
    for language, texts in given.items():
        if not is_language(language) or not isinstance(texts, dict):
            raise ValueError(f"{_shown(language)} is not a table named by a language, like [pt-BR]")
        try:
            templates[language] = _templates(texts)
        except ValueError as error:
            raise ValueError(f"[{language}]: {error}") from None
    if not isinstance(default, str) or default.lower() not in map(str.lower, templates):
        raise ValueError(f"default: {_shown(default)} is none of {', '.join(sorted(templates))}")
    return Languages(templates, default)


def _templates(texts: dict[str, Any]) -> Templates:
    rule = _plural(texts.get("plural", _PLURAL))
    names = [field.name for field in fields(Templates)]
    unknown = sorted(texts.keys() - {"plural", *names})
    lacking = [name for name in names if name not in texts]
    if unknown:
        raise ValueError(f"{', '.join(map(_shown, unknown))} is not known")
    if lacking:
        raise ValueError(f"{', '.join(lacking)} must be set")
    return Templates(**{name: _forms(name, texts[name], rule) for name in names})


def _plural(rule: object) -> Callable[[int], int]:
    """Compile a plural rule as gettext has it: an expression of `n` in C."""
    try:
        if not isinstance(rule, str):
            raise TypeError
        compiled = c2py(rule)
        if min(map(compiled, _TRIED_COUNTS)) >= 0:
            return compiled
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        pass
    raise ValueError(f"plural: {_shown(rule)} is not a plural rule of gettext, like {_PLURAL}")


def _forms(name: str, value: object, rule: Callable[[int], int]) -> Forms:
    given: list[object] = value if isinstance(value, list) else [value]
    texts = [text for text in given if isinstance(text, str) and 0 < len(text) <= _CHARS_MAX]
    if not texts or len(texts) < len(given):
        raise ValueError(f"{name} must be a text, or a list of texts, of at most {_CHARS_MAX} characters")
    if len(texts) > 1 and max(map(rule, _TRIED_COUNTS)) != len(texts) - 1:
        raise ValueError(f"{name} has {len(texts)} forms, which are not as many as its plural rule has")
    for text in texts:
        _check_placeholders(name, text)
    return Forms(tuple(texts), rule)


def _check_placeholders(name: str, text: str) -> None:
    allowed = _PLACEHOLDERS[name]
    try:
        found = [(field, spec, conversion) for _, field, spec, conversion in Formatter().parse(text)]
    except ValueError:
        raise ValueError(f"{name}: a brace is not closed; write {{{{ or }}}} for a brace itself") from None
    for field, spec, conversion in found:
        if field is not None and (field not in allowed or spec or conversion):
            known = ", ".join(f"{{{word}}}" for word in sorted(allowed)) or "no placeholder"
            raise ValueError(f"{name}: {{{_shown(field)}}} is not known here; there is {known}")


def _shown(value: object) -> str:
    """Return a short line for what a file has in a wrong place."""
    return re.sub(r"\s+", " ", str(value))[:80]
