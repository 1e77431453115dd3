"""Variables that look like settings, but are none."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Final

from infra.settings.base import PREFIX
from infra.settings.functions import FunctionSettings
from infra.settings.table import USERS

_KNOWN: Final = frozenset(
    {"DATA_DIR"}
    | {name.upper() for settings in USERS.values() for name in settings.model_fields}
    # Secrets on AWS Lambda: functions/aws/secret_settings.py.
    | {f"{name.upper()}_SECRET" for name in FunctionSettings.model_fields}
)


def unknown_variables(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each name that no deployable reads, and the setting that is most like it; empty if none is."""
    for name in sorted(names):
        setting = name.upper().removeprefix(PREFIX)
        if name.upper().startswith(PREFIX) and setting not in _KNOWN:
            nearest = get_close_matches(setting, sorted(_KNOWN), n=1)
            yield name, f"{PREFIX}{nearest[0]}" if nearest else ""
