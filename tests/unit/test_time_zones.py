"""Time zones are those of the pinned package, whatever the host has."""

import zoneinfo
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest

from infra.settings.time_zones import find_time_zone, is_time_zone, load_time_zone, time_zone_or

NAMES = (files("tzdata") / "zones").read_text("utf-8").split()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Factory"])
def test_every_zone_of_the_package_exists_and_has_a_clock(name: str) -> None:
    assert is_time_zone(name)
    assert find_time_zone(name) == find_time_zone(name.lower()) == find_time_zone(name.upper()) == name
    assert datetime(2026, 1, 1, tzinfo=UTC).astimezone(load_time_zone(name)).utcoffset() is not None


@pytest.mark.parametrize("name", ["localtime", "Factory", "posixrules", "Berlin", "", "\0", "../zones"])
def test_what_a_host_may_have_beside_zones_does_not_exist(name: str) -> None:
    assert not is_time_zone(name)
    assert find_time_zone(name) is None
    assert time_zone_or(name, "Europe/Berlin") == "Europe/Berlin"


def test_a_host_with_other_zones_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_bytes(b"TZif2 and then nothing")
    (tmp_path / "Atlantis").write_bytes((files("tzdata") / "zoneinfo" / "UTC").read_bytes())
    zoneinfo.reset_tzpath([str(tmp_path)])
    try:
        load_time_zone.cache_clear()
        summer = datetime(2026, 7, 1, 12, tzinfo=UTC).astimezone(load_time_zone("Europe/Berlin"))
        assert summer.hour == 14
        assert not is_time_zone("Atlantis")
    finally:
        zoneinfo.reset_tzpath()
