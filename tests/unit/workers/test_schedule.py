"""Beat reads the table of functions, each with the clock of its own zone."""

import pickle
import zoneinfo
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from functions.run import FUNCTIONS
from functions.schedule import JOBS, Job
from infra.settings.functions import FunctionSettings
from infra.settings.time_zones import is_time_zone, load_time_zone
from infra.settings.worker import WorkerSettings
from infra.wire import names
from workers.schedule import beat_schedule

URLS: dict[str, Any] = {"database_url": "postgresql://localhost/chat", "redis_url": "redis://localhost"}


pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


def entries(beat_functions: bool = True, **functions: Any) -> dict[str, dict[str, Any]]:
    worker = WorkerSettings(**URLS, beat_functions=beat_functions)
    return beat_schedule(worker, FunctionSettings(**URLS, **functions))


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_beat_sends_each_job_of_the_table_to_the_workers_of_functions(job: Job) -> None:
    entry = entries(archive_bucket="bucket")[job.name]
    assert (entry["task"], entry["args"]) == (names.FUNCTION_TASK, [job.name])
    assert entry["options"] == {"expires": job.late_s, "queue": names.FUNCTIONS_QUEUE}


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_of_the_table_is_a_function_with_a_zone_that_exists(job: Job) -> None:
    assert job.name in FUNCTIONS
    assert is_time_zone(job.zone)


@pytest.mark.parametrize(
    ("last", "now", "wait_h"),
    [
        ("2026-01-10 03:17", "2026-01-10 12:00", 15 + 17 / 60),
        ("2026-03-28 03:17", "2026-03-28 12:00", 14 + 17 / 60),  # the clocks go forward in the night
        ("2026-10-24 03:17", "2026-10-24 12:00", 16 + 17 / 60),  # and back
    ],
)
def test_a_daily_job_runs_by_local_time(last: str, now: str, wait_h: float) -> None:
    zone = ZoneInfo("Europe/Berlin")
    schedule = entries()["cleanup"]["schedule"]
    schedule.nowfun = lambda: datetime.fromisoformat(now).replace(tzinfo=zone)
    remaining = schedule.remaining_estimate(datetime.fromisoformat(last).replace(tzinfo=zone))
    assert remaining.total_seconds() / 3600 == pytest.approx(wait_h, abs=0.001)


def test_a_host_with_other_zones_moves_no_job(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_bytes(b"TZif2 and then nothing")
    zoneinfo.reset_tzpath([str(tmp_path)])
    ZoneInfo.clear_cache()
    load_time_zone.cache_clear()
    try:
        zones = {str(entries()[job.name]["schedule"].tz) for job in JOBS if job.requires is None}
    finally:
        zoneinfo.reset_tzpath()
    assert zones == {"UTC", "Europe/Berlin"}


def test_the_zone_survives_in_the_file_of_beat() -> None:
    schedule = entries()["cleanup"]["schedule"]
    assert str(pickle.loads(pickle.dumps(schedule)).tz) == "Europe/Berlin"


def test_a_job_is_scheduled_only_with_the_setting_that_it_requires() -> None:
    requirements = {job.name: job.requires for job in JOBS if job.requires}
    assert requirements["archive"] == "archive_bucket"
    assert set(requirements.values()) <= FunctionSettings.model_fields.keys()
    assert set(entries()) == {"sweep", *(job.name for job in JOBS)} - requirements.keys()


def test_webhooks_are_sent_every_few_seconds_where_there_are_any() -> None:
    given: dict[str, Any] = {
        "webhooks": "app",
        "webhooks_urls": "app=https://app.example/hook",
        "webhooks_secrets": "app=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "webhooks_s": 3,
    }
    entry = entries(**given)["webhooks"]
    assert entry["schedule"] == 3.0
    assert (entry["task"], entry["args"]) == (names.FUNCTION_TASK, ["webhooks"])
    assert entry["options"] == {"expires": 3.0, "queue": names.FUNCTIONS_QUEUE}
    assert "webhooks" in FUNCTIONS
    assert "webhooks" not in entries(beat_functions=False, **given)


def test_where_lambda_runs_the_functions_beat_keeps_the_sweep() -> None:
    assert set(entries(beat_functions=False)) == {"sweep"}
