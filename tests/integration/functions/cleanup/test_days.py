"""A day has 24 hours, whatever zone Postgres is in, and although clocks change."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from infra.settings.time_zones import load_time_zone
from infra.store.engine import make_engine
from tests.harness.engines import Store
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.cleanup.state import Clean, add_aged, add_chat, ages

ZONES = ("America/New_York", "Australia/Lord_Howe")
TEN_MINUTES = 1 / 144
SETTINGS = {
    "dead_letters": "dead_letter_days",
    "devices": "device_days",
    "notifications": "notification_days",
    "reports": "report_days",
}


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def engine(bench_store: Store, zone: str) -> Iterator[Engine]:
    """The engine of the functions, whose sessions are in another zone."""
    engine = make_engine(f"{bench_store.database_url}?options=-c%20timezone%3D{zone}")
    yield engine
    engine.dispose()


def days_across_a_change(zone: str) -> list[int]:
    """Return the least and the greatest age in days at which the clocks of the zone were set differently."""
    now, local = datetime.now(UTC), load_time_zone(zone)
    offset = now.astimezone(local).utcoffset()
    across = [
        days for days in range(2, 366) if (now - timedelta(days=days)).astimezone(local).utcoffset() != offset
    ]
    return [across[0], across[-1]]


@pytest.mark.parametrize("kind", SETTINGS)
def test_rows_are_kept_for_days_of_24_hours(bench: WorkerBench, clean: Clean, zone: str, kind: str) -> None:
    for days in days_across_a_change(zone):
        bench.rows("TRUNCATE profiles, dead_letters, reports CASCADE")
        add_aged(bench, kind, days - TEN_MINUTES, days + TEN_MINUTES)
        assert clean(**{SETTINGS[kind]: days}) == {kind: 1}
        assert len(ages(bench, kind)) == 1
        ((is_younger,),) = bench.rows(
            f"SELECT {'registered_at' if kind == 'devices' else 'created_at'}"
            f" > now() - make_interval(hours => 24 * :days) FROM {kind}",
            days=days,
        )
        assert is_younger


def test_messages_are_kept_for_days_of_24_hours(bench: WorkerBench, clean: Clean, zone: str) -> None:
    for days in days_across_a_change(zone):
        chat_id = add_chat(bench, days + TEN_MINUTES, days - TEN_MINUTES)
        assert clean(retention_days=days) == {"messages": 1}
        assert bench.seqs(chat_id) == [2]
        bench.rows("TRUNCATE profiles CASCADE")


@pytest.mark.parametrize("time", ["-infinity", "0044-03-15 BC", "infinity", "20000-01-01"])
@pytest.mark.parametrize("is_dry", [True, False])
def test_a_time_that_python_does_not_know_stops_nothing(
    bench: WorkerBench, clean: Clean, time: str, is_dry: bool
) -> None:
    for kind, column in {"devices": "registered_at", "dead_letters": "created_at"}.items():
        add_aged(bench, kind, 1_000)
        bench.rows(f"UPDATE {kind} SET {column} = CAST(:time AS timestamptz)", time=time)
        add_aged(bench, kind, 1_000, 1)
    is_old = time in ("-infinity", "0044-03-15 BC")
    counted = 1 + (is_old and not (is_dry and time == "-infinity"))
    assert clean(dry_run=is_dry) == {"devices": counted, "dead_letters": counted}
