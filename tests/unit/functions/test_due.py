"""When a job is due, above all where the clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile

import pytest

from functions.due import count_due, newest_due, next_due, times
from functions.jobs import Job

CHANGES = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "America/Havana": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-04", "2026-10-03"),
    "UTC": ("2026-03-29",),
}
"""Days in UTC on which the clocks of a zone change."""
CRONS = ("* * * * *", "*/30 * * * *", "17 3 * * *", "30 2 * * *", "0 0 * * *", "0 1-4 * * *", "30 2 * * 0")


def job(cron: str, zone: str) -> Job:
    return Job("one", cron, zone, late_s=60)


def at(time: str) -> datetime:
    return datetime.fromisoformat(time).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "cron", "day", "due"),
    [
        ("Europe/Berlin", "17 3 * * *", "2026-01-10", ["02:17"]),
        # The clock goes from 02:00 to 03:00.
        ("Europe/Berlin", "30 2 * * *", "2026-03-29", ["01:00"]),
        ("Europe/Berlin", "0 2,3 * * *", "2026-03-29", ["01:00"]),
        ("Europe/Berlin", "17 3 * * *", "2026-03-29", ["01:17"]),
        ("Europe/Berlin", "15 * * * *", "2026-03-29", [f"{hour:02}:15" for hour in range(24)]),
        # It goes from 03:00 back to 02:00.
        ("Europe/Berlin", "30 2 * * *", "2026-10-25", ["00:30"]),
        ("Europe/Berlin", "17 3 * * *", "2026-10-25", ["02:17"]),
        ("Europe/Berlin", "15 * * * *", "2026-10-25", [f"{hour:02}:15" for hour in range(24)]),
        ("America/New_York", "30 2 * * *", "2026-03-08", ["07:00"]),
        ("America/New_York", "30 1 * * *", "2026-11-01", ["05:30"]),
        # From 00:00 to 01:00, and from 01:00 back to 00:00.
        ("America/Havana", "0 0 * * *", "2026-03-08", ["05:00"]),
        ("America/Havana", "0 0 * * *", "2026-11-01", ["04:00"]),
    ],
)
def test_a_day_has_these_times(zone: str, cron: str, day: str, due: list[str]) -> None:
    found = until(job(cron, zone), at(day) - timedelta(seconds=1), at(day) + timedelta(days=1, seconds=-1))
    assert [f"{time:%H:%M}" for time in found] == due


def until(one: Job, after: datetime, last: datetime) -> list[datetime]:
    return list(takewhile(lambda time: time <= last, times(one, after)))


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("cron", CRONS)
def test_at_any_moment_the_newest_and_the_next_time_are_neighbours(zone: str, cron: str) -> None:
    """Two beats agree on the newest time, whenever they ask, and no time comes twice."""
    one = job(cron, zone)
    for day in CHANGES[zone]:
        every = until(one, at(day) - timedelta(days=8), at(day) + timedelta(days=9))
        assert all(first < second for first, second in pairwise(every))
        for slot in range(3 * 30):
            now = at(day) + timedelta(minutes=20 * slot - 180, seconds=1)
            assert newest_due(one, now) == max(time for time in every if time <= now)
            assert next_due(one, now) == min(time for time in every if time > now)


def test_a_time_counts_from_its_very_moment() -> None:
    one = job("17 3 * * *", "UTC")
    assert newest_due(one, at("2026-01-10T03:17:00")) == at("2026-01-10T03:17:00")
    assert newest_due(one, at("2026-01-10T03:16:59.999999")) == at("2026-01-09T03:17:00")
    assert next_due(one, at("2026-01-10T03:17:00")) == at("2026-01-11T03:17:00")


@pytest.mark.parametrize(
    ("cron", "newest"),
    [
        ("0 0 29 2 *", "2024-02-29T00:00"),
        ("0 9 1 1 *", "2026-01-01T09:00"),
        ("0 9 * * 1", "2026-07-06T09:00"),
    ],
)
def test_the_newest_time_may_be_long_ago(cron: str, newest: str) -> None:
    assert newest_due(job(cron, "UTC"), at("2026-07-07T08:00")) == at(newest)


def test_times_are_counted_up_to_a_thousand() -> None:
    one = job("* * * * *", "Europe/Berlin")
    begins = at("2026-10-25T00:00")
    assert count_due(one, begins, begins) == 0
    assert count_due(one, begins, begins + timedelta(hours=3)) == 180
    assert count_due(one, begins, begins + timedelta(days=9)) == 1_000
