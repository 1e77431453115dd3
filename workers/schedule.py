"""The schedule of Celery beat, and functions as Celery tasks."""

from collections.abc import Collection
from datetime import datetime, tzinfo
from functools import cache, partial
from typing import Any, Final
from uuid import UUID

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from celery import Celery
from celery.schedules import crontab
from celery.worker.request import Request as CeleryRequest
from kombu.exceptions import KombuError
from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError

from functions.context import Context
from functions.errors import ArchiveError
from functions.push import Push
from functions.run import run
from functions.schedule import JOBS, Job
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings
from infra.settings.time_zones import load_time_zone
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
    """Return Celery's `beat_schedule`. Runs that no worker takes in time are dropped."""
    sweep = {
        "task": names.SWEEP_TASK,
        "schedule": settings.sweep_s,
        "options": {"expires": _SWEEPS * settings.sweep_s},
    }
    jobs = [job for job in JOBS if job.requires is None or getattr(functions, job.requires)]
    return {
        **_webhooks(settings, functions),
        "sweep": sweep,
        **{job.name: _entry(job) for job in jobs if settings.beat_functions},
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


def add_function_tasks(app: Celery, settings: FunctionSettings) -> None:
    """Add the tasks that run functions and send notifications to `app`."""

    @cache
    def context() -> Context:
        return Context.make(settings, CeleryQueue(app))

    @cache
    def push() -> Push:
        return Push(context())

    @app.task(name=names.FUNCTION_TASK, Request=punctual(CeleryRequest, lambda: context().redis))  # type: ignore[untyped-decorator]
    def run_function(name: str) -> None:
        try:
            run(name, context())
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


class ZonedCrontab(crontab):  # type: ignore[misc]
    """A crontab in its own time zone, that of its `nowfun`, instead of the app's."""

    @property
    def tz(self) -> tzinfo:
        """That time zone."""
        zone: tzinfo = self.now().tzinfo
        return zone


def _entry(job: Job) -> dict[str, Any]:
    minute, hour, day_of_month, month_of_year, day_of_week = job.cron.split()
    return {
        "task": names.FUNCTION_TASK,
        "args": [job.name],
        "schedule": ZonedCrontab(
            minute=minute,
            hour=hour,
            day_of_month=day_of_month,
            month_of_year=month_of_year,
            day_of_week=day_of_week,
            nowfun=partial(_now, job.zone),
        ),
        "options": {"expires": job.late_s, "queue": names.FUNCTIONS_QUEUE},
    }


def _now(zone: str) -> datetime:
    return datetime.now(load_time_zone(zone))


def _reason(error: Exception) -> str:
    """Return what may be logged: of database errors only the type, as they may quote rows."""
    return type(error).__name__ if isinstance(error, SQLAlchemyError) else str(error)
