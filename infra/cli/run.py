"""`bbgram run`: runs a function once, in this process."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from infra.cli.extras import advice
from infra.cli.local import local_option
from infra.errors import CommandError
from infra.settings.functions import FunctionSettings
from infra.settings.jobs import JobSettings
from infra.settings.worker import WorkerSettings

if TYPE_CHECKING:
    from functions.context import Context, NotificationQueue
    from functions.jobs import OwnJob
    from functions.pacer import Pacer

_dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
_day = click.DateTime(["%Y-%m-%d"])


class _Functions(click.Group):
    """Our functions, and the jobs of the team."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names. Raises SettingsError if the jobs cannot be imported."""
        return [*super().list_commands(ctx), *_own_jobs()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name. Raises SettingsError if the jobs cannot be imported."""
        command = super().get_command(ctx, cmd_name)
        return command or _own_command(cmd_name, _own_jobs().get(cmd_name))


@click.group(cls=_Functions)
def run() -> None:
    """Run a function: cleanup, offline_delivery, push, webhooks, archive, restore, erase_users, or yours."""


@run.command()
@_dry_run
@local_option
def cleanup(dry_run: bool) -> None:
    """Delete what is too old: dead letters, devices, notifications, reports, and messages if configured."""
    _run("cleanup", dry_run)


@run.command("offline_delivery")
@_dry_run
@local_option
def offline_delivery(dry_run: bool) -> None:
    """Queue a notification for every user who is away and has undelivered messages."""
    _run("offline_delivery", dry_run)


@run.command()
@_dry_run
@local_option
def push(dry_run: bool) -> None:
    """Send every open notification now, without waiting for the queue."""
    _run("push", dry_run)


@run.command()
@_dry_run
@local_option
def webhooks(dry_run: bool) -> None:
    """Send what waits for the app's backend."""
    _run("webhooks", dry_run)


@run.command()
@_dry_run
@local_option
def archive(dry_run: bool) -> None:
    """Move old messages to S3."""
    _run("archive", dry_run)


@run.command("erase_users")
@_dry_run
@local_option
def erase_users(dry_run: bool) -> None:
    """Go on with erasures of users that were asked for and are not finished."""
    _run("erase_users", dry_run)


@run.command()
@click.option("--from", "first", type=_day, required=True, help="First day (UTC), like 2026-01-31.")
@click.option("--to", "last", type=_day, required=True, help="Last day (UTC), inclusive.")
@_dry_run
@local_option
def restore(first: datetime, last: datetime, dry_run: bool) -> None:
    """Bring the messages of some days back from S3."""
    if last < first:
        raise click.UsageError("--to lies before --from")
    from functions.archive.restore import restore
    from functions.run import run_function

    def bring_back(context: "Context", pacer: "Pacer", dry_run: bool) -> dict[str, Any]:
        return restore(context, pacer, first.date(), last.date(), dry_run)

    _with_context("restore", lambda context: run_function("restore", bring_back, context, dry_run=dry_run))


def _own_jobs() -> "dict[str, OwnJob]":
    """Return the jobs of the team. Raises SettingsError if they cannot be imported."""
    settings = JobSettings.load()
    if settings.jobs is None:
        return {}
    from functions.schedule import own_jobs

    return own_jobs(settings)


def _own_command(name: str, own: "OwnJob | None") -> click.Command | None:
    if own is None:
        return None

    @local_option
    @_dry_run
    def command(dry_run: bool) -> None:
        _run(name, dry_run)

    return click.command(name, help=own.function.__doc__ or f"Due at {own.job}.")(command)


def _run(name: str, dry_run: bool) -> None:
    from functions.run import run

    _with_context(name, lambda context: run(name, context, dry_run=dry_run))


def _with_context(name: str, work: Callable[["Context"], dict[str, Any]]) -> None:
    """Do the work and print its summary. Raises CommandError with the one line that says why it failed."""
    settings = FunctionSettings.load()
    from botocore.exceptions import BotoCoreError, ClientError

    from functions.context import Context
    from functions.errors import ArchiveError
    from infra.cli.unreachable import errors_in_one_line
    from infra.logs import configure_logs

    configure_logs(as_json=settings.log_json, level=settings.log_level)
    queue = _celery_queue(settings) if name == "offline_delivery" else NoQueue()
    try:
        with errors_in_one_line(name, settings.database_url, settings.redis_url):
            summary = work(Context.make(settings, queue))
    except (BotoCoreError, ClientError, ArchiveError) as error:
        raise CommandError(f"{name} failed: {error}") from error
    click.echo(", ".join(f"{key}: {value}" for key, value in summary.items()))


def _celery_queue(settings: FunctionSettings) -> "NotificationQueue":
    """Return the queue that the functions workers read.

    Raises CommandError without the extra `worker`, and SettingsError without REDIS_URL.
    """
    try:
        from workers.app import create_app
        from workers.schedule import CeleryQueue
    except ModuleNotFoundError as error:
        raise CommandError(advice("run offline_delivery", error)) from error
    return CeleryQueue(create_app(WorkerSettings.load(), settings))


class NoQueue:
    """For the functions that queue nothing, so that they need no Redis."""

    def put(self, notification_ids: Collection[UUID]) -> None:
        """Never called."""
        raise AssertionError("only offline_delivery queues notifications")
