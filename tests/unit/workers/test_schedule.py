"""Beat reads the table of functions, each with the clock of its own zone."""

import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery.beat import _evaluate_entry_args

from functions.due import newest_due
from functions.jobs import Job
from functions.run import FUNCTIONS
from functions.schedule import RESERVED, built_in_jobs
from infra.settings.functions import FunctionSettings
from infra.settings.jobs import JobSettings
from infra.settings.time_zones import is_time_zone, load_time_zone
from infra.settings.worker import WorkerSettings
from infra.wire import names
from workers.schedule import beat_schedule

URLS: dict[str, Any] = {"database_url": "postgresql://localhost/chat", "redis_url": "redis://localhost"}


class _WithBucket(JobSettings):
    archive_bucket: str = "bucket"


JOBS = built_in_jobs(_WithBucket.model_construct())

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


def entries(beat_functions: bool = True, **functions: Any) -> dict[str, dict[str, Any]]:
    worker = WorkerSettings(**URLS, beat_functions=beat_functions)
    return beat_schedule(worker, FunctionSettings(**URLS, **functions))


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_beat_sends_each_job_of_the_table_to_the_workers_of_functions(job: Job) -> None:
    entry = entries(archive_bucket="bucket")[job.name]
    assert (entry["task"], entry["args"][0]) == (names.FUNCTION_TASK, job.name)
    assert entry["options"] == {"expires": job.late_s, "queue": names.FUNCTIONS_QUEUE}


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_of_the_table_is_a_function_with_a_zone_that_exists(job: Job) -> None:
    assert job.name in FUNCTIONS
    assert {*FUNCTIONS, "restore"} == RESERVED
    assert is_time_zone(job.zone)


@pytest.mark.parametrize(
    ("last", "now", "wait_h"),
    [
        ("2026-01-10 03:17", "2026-01-10 12:00", 15 + 17 / 60),
        ("2026-03-28 03:17", "2026-03-28 12:00", 14 + 17 / 60),  # the clocks go forward in the night
        ("2026-10-24 03:17", "2026-10-24 12:00", 16 + 17 / 60),  # and back
    ],
)
def test_a_daily_job_runs_by_local_time(
    last: str, now: str, wait_h: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = entries()["cleanup"]["schedule"]
    monkeypatch.setattr(type(schedule), "now", lambda self: at(now).astimezone(UTC))
    assert not schedule.is_due(at(last)).is_due
    assert schedule.is_due(at(last)).next / 3600 == pytest.approx(wait_h, abs=0.001)


def at(time: str) -> datetime:
    return datetime.fromisoformat(time).replace(tzinfo=ZoneInfo("Europe/Berlin"))


def test_a_task_says_for_which_time_it_was_sent() -> None:
    before = datetime.now(UTC)
    entry = entries(cleanup_cron="* * * * *")["cleanup"]
    (task,) = _evaluate_entry_args(entry["args"])[1:]
    assert before - timedelta(minutes=1) < datetime.fromisoformat(task) <= datetime.now(UTC)
    assert datetime.fromisoformat(task).second == 0


def test_times_and_zone_come_from_the_settings() -> None:
    made = entries(cleanup_cron="0  5 * * 1", cron_zone="Asia/Tokyo")
    assert made["cleanup"]["schedule"].job == Job(
        "cleanup", "0 5 * * 1", "Asia/Tokyo", late_s=3_600, retry=True
    )
    assert made["offline_delivery"]["schedule"].job.zone == "UTC"


def test_a_host_with_other_zones_moves_no_job(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_bytes(b"TZif2 and then nothing")
    zoneinfo.reset_tzpath([str(tmp_path)])
    ZoneInfo.clear_cache()
    load_time_zone.cache_clear()
    noons = [datetime(2026, month, 1, 12, tzinfo=UTC) for month in (1, 7)]
    try:
        due = [newest_due(entries()["cleanup"]["schedule"].job, noon) for noon in noons]
    finally:
        zoneinfo.reset_tzpath()
    assert [time.isoformat() for time in due if time] == [
        "2026-01-01T02:17:00+00:00",
        "2026-07-01T01:17:00+00:00",
    ]


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
