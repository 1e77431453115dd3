"""Quiet hours are in the user's local time, across midnight and changes of the clock."""

from datetime import UTC, datetime

import pytest

from functions.quiet_hours import quiet_until


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
        ("12:00-14:00", "UTC", "2026-01-11 13:00", "2026-01-11 14:00"),
        ("12:00-14:00", "UTC", "2026-01-11 14:00", None),
        ("22:00-07:00", "America/New_York", "2026-01-11 03:30", "2026-01-11 12:00"),
        ("22:00-07:00", "Europe/Berlin", "2026-03-28 22:30", "2026-03-29 05:00"),
        ("22:00-07:00", "Europe/Berlin", "2026-10-24 22:30", "2026-10-25 06:00"),
        ("08:00-08:00", "UTC", "2026-01-11 08:00", None),
    ],
)
def test_quiet_hours_last_until(hours: str | None, zone: str, now: str, until: str | None) -> None:
    assert quiet_until(hours, zone, at(now)) == (at(until) if until else None)
