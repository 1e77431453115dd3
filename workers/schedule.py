"""The schedule of Celery beat, and functions as Celery tasks."""

from collections.abc import Collection
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from celery import Celery
from celery.beat import BeatLazyFunc
from celery.schedules import BaseSchedule, schedstate
from celery.worker.request import Request as CeleryRequest
from kombu.exceptions import KombuError
from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError

from functions.context import Context
from functions.due import newest_due, next_due
from functions.errors import ArchiveError
from functions.jobs import Job
from functions.push import Push
from functions.run import run, run_due
from functions.schedule import schedule
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings
from infra.settings.worker import WorkerSettings
from infra.wire import names
from workers.expiry import punctual

log = structlog.get_logger(__name__)

CONNECTION_ERRORS: Final = (
    BotoCoreError,
    ClientError,
    KombuError,
    RedisError,
    SQLAlchemyError,
)
"""Raised by functions if a service does not answer. The next run does the rest."""


_SWEEPS: Final = 12
"""Sweeps that may wait while no worker runs. The clocks of beat and Redis may differ by that time."""


def beat_schedule(settings: WorkerSettings, functions: FunctionSettings) -> dict[str, dict[str, Any]]:
    """Return Celery's `beat_schedule`. Runs that no worker takes in time are dropped.

    Raises SettingsError.
    """
    sweep = {
        "task": names.SWEEP_TASK,
        "schedule": settings.sweep_s,
        "options": {"expires": _SWEEPS * settings.sweep_s},
    }
    jobs = schedule(functions) if settings.beat_functions else ()
    return {
        **_webhooks(settings, functions),
        "sweep": sweep,
        **{job.name: _entry(job) for job in jobs},
    }


def _webhooks(settings: WorkerSettings, functions: FunctionSettings) -> dict[str, dict[str, Any]]:
    """Return the entry that sends webhooks, every few seconds, which a cron cannot say.

    Runs that no worker takes in time are dropped: the next one does the same.
    """
    if not functions.webhooks or not settings.beat_functions:
        return {}
    entry = {
        "task": names.FUNCTION_TASK,
        "args": ["webhooks"],
        "schedule": functions.webhooks_s,
        "options": {"expires": functions.webhooks_s, "queue": names.FUNCTIONS_QUEUE},
    }
    return {"webhooks": entry}


def check_jobs(settings: FunctionSettings) -> None:
    """Import the jobs of the team. Raises SettingsError."""
    schedule(settings)


def add_function_tasks(app: Celery, settings: FunctionSettings) -> None:
    """Add the tasks that run functions and send notifications to `app`."""

    @cache
    def context() -> Context:
        return Context.make(settings, CeleryQueue(app))

    @cache
    def push() -> Push:
        return Push(context())

    @app.task(name=names.FUNCTION_TASK, Request=punctual(CeleryRequest, lambda: context().redis))  # type: ignore[untyped-decorator]
    def run_function(name: str, due: str | None = None) -> None:
        """Run a function, for a time of its schedule unless `due` is None."""
        try:
            if due is None:
                run(name, context())
            else:
                run_due(name, context(), datetime.fromisoformat(due), schedule(settings))
        except (*CONNECTION_ERRORS, SettingsError, ArchiveError) as error:
            log.error("function_failed", function=name, error=_reason(error))

    @app.task(name=names.PUSH_TASK)  # type: ignore[untyped-decorator]
    def send_notification(notification_id: str) -> None:
        try:
            push().attempt(UUID(notification_id))
        except (*CONNECTION_ERRORS, SettingsError) as error:
            log.error("function_failed", function="push", error=_reason(error))


class CeleryQueue:
    """A Celery queue of notifications. `offline_delivery` queues lost notifications again."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def put(self, notification_ids: Collection[UUID]) -> None:
        """Send a task for each. Raises kombu.exceptions.OperationalError."""
        with self._app.producer_or_acquire() as producer:
            for notification_id in notification_ids:
                self._app.send_task(
                    names.PUSH_TASK,
                    args=[str(notification_id)],
                    queue=names.FUNCTIONS_QUEUE,
                    producer=producer,
                )


class JobSchedule(BaseSchedule):  # type: ignore[misc]
    """When a job is due. What beat has missed counts as due once."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job

    def now(self) -> datetime:
        """Return the time in UTC; in other zones, Python adds to what the clock shows."""
        return datetime.now(UTC)

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Tell whether a time has come since the last run, and in how many seconds the next one comes."""
        now = self.now()
        newest = newest_due(self.job, now)
        is_due = newest is not None and newest > last_run_at
        return schedstate(is_due, (next_due(self.job, now) - now).total_seconds())

    def newest(self) -> str:
        """Return the time that a task sent now is for."""
        now = self.now()
        return (newest_due(self.job, now) or now).isoformat()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobSchedule) and other.job == self.job

    def __hash__(self) -> int:
        return hash(self.job)


def _entry(job: Job) -> dict[str, Any]:
    times = JobSchedule(job)
    return {
        "task": names.FUNCTION_TASK,
        "args": [job.name, BeatLazyFunc(times.newest)],
        "schedule": times,
        "options": {"expires": job.late_s, "queue": names.FUNCTIONS_QUEUE},
    }


def _reason(error: Exception) -> str:
    """Return what may be logged: of database errors only the type, as they may quote rows."""
    return type(error).__name__ if isinstance(error, SQLAlchemyError) else str(error)
