"""`bbgram run`: runs a function once, here and now."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from infra.local.errors import StackError
from infra.settings import FunctionSettings, WorkerSettings

if TYPE_CHECKING:
    from functions.context import Context
    from functions.pacer import Pacer

_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
_day = click.DateTime(["%Y-%m-%d"])


@click.group()
def run() -> None:
    """Run a function once: cleanup, offline_delivery, push, archive or restore."""


@run.command()
@_dry_run
def cleanup(dry_run: bool) -> None:
    """Remove what is past its age: traces of dead edges, dead letters, devices, old messages if so set."""
    _run("cleanup", dry_run)


@run.command("offline_delivery")
@_dry_run
def offline_delivery(dry_run: bool) -> None:
    """Queue a notification for everybody who is away and has undelivered messages."""
    _run("offline_delivery", dry_run)


@run.command()
@_dry_run
def push(dry_run: bool) -> None:
    """Send every open notification now, without waiting for the queue."""
    _run("push", dry_run)


@run.command()
@_dry_run
def archive(dry_run: bool) -> None:
    """Move old messages to S3."""
    _run("archive", dry_run)


@run.command()
@click.option("--from", "first", type=_day, required=True, help="First day (UTC), like 2026-01-31.")
@click.option("--to", "last", type=_day, required=True, help="Last day (UTC), itself included.")
@_dry_run
def restore(first: datetime, last: datetime, dry_run: bool) -> None:
    """Bring the messages of some days back from S3."""
    if last < first:
        raise click.UsageError("--to lies before --from")
    from functions.archive.restore import restore
    from functions.run import run_function

    def bring_back(context: "Context", pacer: "Pacer", dry_run: bool) -> dict[str, Any]:
        return restore(context, pacer, first.date(), last.date(), dry_run)

    _with_context("restore", lambda context: run_function("restore", bring_back, context, dry_run=dry_run))


def _run(name: str, dry_run: bool) -> None:
    from functions.run import run

    _with_context(name, lambda context: run(name, context, dry_run=dry_run))


def _with_context(name: str, work: Callable[["Context"], dict[str, Any]]) -> None:
    """Do the work and print its summary, or say in one line why it cannot be done."""
    settings, functions = WorkerSettings.load(), FunctionSettings.load()
    from sqlalchemy.exc import SQLAlchemyError

    from functions.context import Context
    from functions.errors import ArchiveError
    from infra.logs import configure_logs
    from workers.app import create_app
    from workers.schedule import CONNECTION_ERRORS, CeleryQueue

    configure_logs(as_json=functions.log_json)
    try:
        summary = work(Context.make(functions, CeleryQueue(create_app(settings, functions))))
    except SQLAlchemyError as error:
        raise StackError(f"{name} failed: {getattr(error, 'orig', None) or error}") from error
    except (*CONNECTION_ERRORS, ArchiveError) as error:
        raise StackError(f"{name} failed: {error}") from error
    click.echo(", ".join(f"{key}: {value}" for key, value in summary.items()))
