"""Quiet hours are in the user's local time, across midnight and changes of the clock."""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import cache
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.quiet_hours import quiet_until
from infra.settings.time_zones import load_time_zone

MINUTE = timedelta(minutes=1)
YEARS = range(2005, 2038)


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "zone", "now", "until"),
    [
        (None, "UTC", "2026-01-10 23:00", None),
        ("22:00-07:00", "UTC", "2026-01-10 21:59", None),
        ("22:00-07:00", "UTC", "2026-01-10 22:00", "2026-01-11 07:00"),
        ("22:00-07:00", "UTC", "2026-01-11 06:59", "2026-01-11 07:00"),
        ("22:00-07:00", "UTC", "2026-01-11 07:00", None),
        ("22:00-07:00", "UTC", "2026-02-28 23:00", "2026-03-01 07:00"),
        ("22:00-07:00", "UTC", "2028-02-28 23:00", "2028-02-29 07:00"),
        ("22:00-07:00", "UTC", "2026-12-31 23:00", "2027-01-01 07:00"),
        ("12:00-14:00", "UTC", "2026-01-11 13:00", "2026-01-11 14:00"),
        ("12:00-14:00", "UTC", "2026-01-11 14:00", None),
        ("22:00-07:00", "America/New_York", "2026-01-11 03:30", "2026-01-11 12:00"),
        ("22:00-07:00", "Asia/Kathmandu", "2026-01-11 20:00", "2026-01-12 01:15"),
        ("22:00-07:00", "Europe/Berlin", "2026-03-28 22:30", "2026-03-29 05:00"),
        ("22:00-07:00", "Europe/Berlin", "2026-10-24 22:30", "2026-10-25 06:00"),
        ("08:00-08:00", "UTC", "2026-01-11 08:00", None),
    ],
)
def test_quiet_hours_last_until(hours: str | None, zone: str, now: str, until: str | None) -> None:
    assert quiet_until(hours, zone, at(now)) == (at(until) if until else None)


@pytest.mark.parametrize(
    ("hours", "zone", "now", "until"),
    [
        # 03:00 becomes 02:00 at 01:00 UTC, so 02:30 comes twice.
        ("22:00-02:30", "Europe/Berlin", "2026-10-25 00:10", "2026-10-25 00:30"),
        ("22:00-02:30", "Europe/Berlin", "2026-10-25 00:40", None),
        ("22:00-02:30", "Europe/Berlin", "2026-10-25 01:10", "2026-10-25 01:30"),
        ("22:00-02:30", "Europe/Berlin", "2026-10-25 01:30", None),
        ("22:00-02:00", "Europe/Berlin", "2026-10-25 01:00", None),
        ("22:00-03:00", "Europe/Berlin", "2026-10-25 00:30", "2026-10-25 02:00"),
        ("02:30-07:00", "Europe/Berlin", "2026-10-25 00:45", "2026-10-25 06:00"),
        # 02:00 becomes 03:00 at 01:00 UTC, so 02:30 does not come.
        ("22:00-02:30", "Europe/Berlin", "2026-03-29 00:30", "2026-03-29 01:00"),
        ("22:00-02:30", "Europe/Berlin", "2026-03-29 01:00", None),
        ("02:15-02:45", "Europe/Berlin", "2026-03-29 01:20", None),
        # Half an hour, at 15:00 UTC.
        ("22:00-01:45", "Australia/Lord_Howe", "2026-04-04 15:10", "2026-04-04 15:15"),
        ("22:00-02:15", "Australia/Lord_Howe", "2026-10-03 15:00", "2026-10-03 15:30"),
        # Midnight becomes 01:00 on 27 April and 23:00 on 29 October.
        ("22:00-00:30", "Africa/Cairo", "2023-04-27 21:00", "2023-04-27 22:00"),
        ("22:00-00:00", "Africa/Cairo", "2023-10-26 20:30", "2023-10-26 22:00"),
        ("22:00-23:30", "Africa/Cairo", "2023-10-26 21:10", "2023-10-26 21:30"),
        ("22:00-00:30", "Asia/Beirut", "2026-03-28 21:30", "2026-03-28 22:00"),
        # 30 December is skipped.
        ("22:00-07:00", "Pacific/Apia", "2011-12-30 08:30", "2011-12-30 17:00"),
        ("20:00-19:45", "Pacific/Apia", "2011-12-30 07:00", "2011-12-31 05:45"),
    ],
)
def test_quiet_hours_end_at_the_right_moment_when_clocks_change(
    hours: str, zone: str, now: str, until: str | None
) -> None:
    assert quiet_until(hours, zone, at(now)) == (at(until) if until else None)


@cache
def changes() -> list[tuple[str, datetime]]:
    """Return the moments at which the clocks of each zone change."""
    names = (files("tzdata") / "zones").read_text("utf-8").split()
    return [(name, moment) for name in names for moment in changes_of(name)]


def changes_of(name: str) -> Iterator[datetime]:
    zone = load_time_zone(name)
    first = datetime(YEARS[0], 1, 1, tzinfo=UTC)
    minutes = range(0, 60 * 24 * 365 * len(YEARS), 60 * 24 * 20)

    def offset(minute: int) -> timedelta | None:
        return (first + minute * MINUTE).astimezone(zone).utcoffset()

    offsets = [offset(minute) for minute in minutes]
    for start, before, after in zip(minutes, offsets, offsets[1:], strict=False):
        if before != after:
            minute = bisect_left(range(60 * 24 * 20), True, key=lambda n: offset(start + n) != before)
            yield first + (start + minute) * MINUTE


def is_quiet(start: time, end: time, clock: time) -> bool:
    return start <= clock < end if start <= end else clock >= start or clock < end


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_quiet_hours_around_any_change_of_any_clock_end_later_and_at_their_end(data: st.DataObject) -> None:
    name, change = data.draw(st.sampled_from(changes()))
    zone = load_time_zone(name)
    near = st.integers(-180, 180)
    start, end = ((change + data.draw(near) * MINUTE).astimezone(zone).time() for _ in range(2))
    now = change + data.draw(st.integers(-24 * 60, 24 * 60)) * MINUTE
    until = quiet_until(f"{start:%H:%M}-{end:%H:%M}", name, now)
    if start == end or not is_quiet(start, end, now.astimezone(zone).time()):
        assert until is None
        return
    assert until is not None
    before, clock = ((until - by).astimezone(zone).replace(tzinfo=None) for by in (MINUTE, 0 * MINUTE))
    assert now < until < now + timedelta(days=2)
    assert not is_quiet(start, end, clock.time())
    assert clock.time() == end or clock - before > MINUTE, "it is their end, or the clock jumped over it"
    for passed in range(1, (until - now) // MINUTE):
        assert (now + passed * MINUTE).astimezone(zone).time() != end, "they ended before"
