"""What Celery beat runs and when, and the functions as Celery tasks."""

from collections.abc import Collection
from datetime import datetime, tzinfo
from functools import cache, partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from celery import Celery
from celery.schedules import crontab
from celery.worker.request import Request
from kombu.exceptions import KombuError
from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError

from functions.archive_store import ArchiveError
from functions.context import Context
from functions.push import Push
from functions.run import run
from functions.schedule import JOBS, Job
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
"""What a function may raise when something that it needs does not answer; the next run makes up for it."""


_SWEEPS: Final = 12
"""Sweeps that may wait while no worker is there; so far may the clocks of beat and Redis differ, too."""


def beat_schedule(settings: WorkerSettings, functions: FunctionSettings) -> dict[str, dict[str, Any]]:
    """Return Celery's `beat_schedule`. A run that no worker took in time is dropped, not piled up."""
    sweep = {
        "task": names.SWEEP_TASK,
        "schedule": settings.sweep_s,
        "options": {"expires": _SWEEPS * settings.sweep_s},
    }
    jobs = [job for job in JOBS if job.name != "archive" or functions.archive_bucket]
    return {"sweep": sweep, **{job.name: _entry(job) for job in jobs if settings.beat_functions}}


def add_function_tasks(app: Celery, settings: FunctionSettings) -> None:
    """Let `app` run functions and send notifications."""

    @cache
    def context() -> Context:
        return Context.make(settings, CeleryQueue(app))

    @cache
    def push() -> Push:
        return Push(context())

    @app.task(name=names.FUNCTION_TASK, Request=punctual(Request, lambda: context().redis))  # type: ignore[untyped-decorator]
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
    """Notifications on a Celery queue. One that gets lost is queued again by `offline_delivery`."""

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
    """A crontab on the clocks of the zone that its `nowfun` tells, whatever the zone of the app is."""

    @property
    def tz(self) -> tzinfo:
        """The zone; kept in `nowfun`, which beat stores along with the entry."""
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
            nowfun=partial(datetime.now, ZoneInfo(job.zone)),
        ),
        "options": {"expires": job.late_s, "queue": names.FUNCTIONS_QUEUE},
    }


def _reason(error: Exception) -> str:
    """Return what may be logged: a database error may quote rows."""
    return type(error).__name__ if isinstance(error, SQLAlchemyError) else str(error)
