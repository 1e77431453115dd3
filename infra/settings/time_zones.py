"""The time zones that exist: those of the pinned package `tzdata`, the same on every host.

A host may have other names (`localtime`, `posixrules`, `right/...`), or older data.
"""

from datetime import tzinfo
from functools import cache
from importlib.resources import files
from typing import Annotated, Final, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

_Default = TypeVar("_Default", str, None)

_PLACEHOLDER: Final = "Factory"
"""A name in the database for a computer whose zone nobody has set."""


def is_time_zone(name: str) -> bool:
    """Return whether `name` is an IANA time zone such as `Europe/Berlin`."""
    return name in _time_zones()


def time_zone_or(name: str | None, default: _Default) -> str | _Default:
    """Return `name` if it is a time zone, or else `default`."""
    return name if name is not None and is_time_zone(name) else default


def find_time_zone(name: str) -> str | None:
    """Return the time zone that this means, whatever its case: `asia/kolkata` is `Asia/Kolkata`."""
    return _by_lower_case().get(name.strip().lower())


@cache
def load_time_zone(name: str) -> tzinfo:
    """Return a time zone for which `is_time_zone` is true. Raises OSError for another one."""
    with (files("tzdata") / "zoneinfo").joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@cache
def _time_zones() -> frozenset[str]:
    return frozenset((files("tzdata") / "zones").read_text("utf-8").split()) - {_PLACEHOLDER}


@cache
def _by_lower_case() -> dict[str, str]:
    return {name.lower(): name for name in _time_zones()}


def check_time_zone(value: str) -> str:
    """Return the name of a time zone. Raises ValueError if there is none of that name."""
    if not is_time_zone(value):
        raise ValueError("must be the name of a time zone, like Europe/Berlin")
    return value


TimeZone = Annotated[str, AfterValidator(check_time_zone)]
