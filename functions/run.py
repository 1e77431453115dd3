"""Runs a function by name, in the same way for every host."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from functions import metrics
from functions.archive.archiver import archive
from functions.cleanup import cleanup
from functions.context import Context, Summary
from functions.erasure.scheduled import erase_users
from functions.job_runs import JobRuns, Missed
from functions.jobs import Function, Job
from functions.offline_delivery import offline_delivery
from functions.pacer import Pacer
from functions.push import push_open
from functions.schedule import own_jobs
from functions.webhooks.sender import webhooks
from infra.settings.base import SettingsError, variable

log = structlog.get_logger(__name__)

FUNCTIONS: Final[dict[str, Function]] = {
    "cleanup": cleanup,
    "offline_delivery": offline_delivery,
    "push": push_open,
    "archive": archive,
    "erase_users": erase_users,
    "webhooks": webhooks,
}
"""Our functions that take no further arguments. `functions.schedule` has their times, and adds a team's."""


@dataclass(frozen=True, slots=True)
class DueRun:
    """What became of a run that a schedule has started."""

    summary: Summary | None
    """None if another run has taken its time."""
    missed: int
    """How many times of any job have been missed."""


_FREQUENT: Final = frozenset({"erase_users", "webhooks"})
"""Those that run often: a run that had nothing to do is not logged."""


def run(name: str, context: Context, *, dry_run: bool = False) -> Summary:
    """Run a function, log its summary as one event and return it. Raises what the function raises."""
    return run_function(name, _function(name, context), context, dry_run=dry_run)


def run_due(name: str, context: Context, due: datetime, jobs: Sequence[Job]) -> DueRun:
    """Do the same for a time of the schedule, unless another run has taken it. Report what was missed.

    `jobs` are those that this host runs. Raises what the function raises, and SQLAlchemyError.
    """
    job = next((job for job in jobs if job.name == name), None)
    if job is None:
        raise _unknown(name)
    runs = JobRuns(context.engine, jobs)
    begun = runs.begin(job, due, context.settings.run_s)
    for missed in begun.missed:
        _report(missed)
    times = sum(missed.times for missed in begun.missed)
    if begun.due is None:
        log.info("job_already_run", function=name, due=due.isoformat())
        return DueRun(None, times)
    try:
        summary = run(name, context)
    except Exception:
        with suppress(SQLAlchemyError):
            runs.end(job, begun.due, failed=True)
        raise
    runs.end(job, begun.due, failed=False)
    return DueRun(summary, times)


def _report(missed: Missed) -> None:
    name, newest = missed.job.name, missed.newest.isoformat()
    metrics.MISSED.labels(name).inc(missed.times)
    log.warning("job_missed", function=name, due=newest, times=missed.times)


def _function(name: str, context: Context) -> Function:
    """Return a function. Raises SettingsError if there is none of that name."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    own = own_jobs(context.settings)
    if name not in own:
        raise _unknown(name)
    return own[name]


def _unknown(name: str) -> SettingsError:
    return SettingsError(f"There is no job {name}; set {variable('jobs')} alike for beat and workers.")


def run_function(name: str, function: Function, context: Context, *, dry_run: bool) -> Summary:
    """Do the same for a function that is not in the table, such as `restore`."""
    pacer = Pacer(context.settings.run_s)
    try:
        summary = function(context, pacer, dry_run)
    except Exception:
        metrics.RUNS.labels(name, "failed").inc()
        raise
    metrics.RUNS.labels(name, "out_of_time" if pacer.out_of_time else "complete").inc()
    metrics.RUN_SECONDS.observe(pacer.elapsed_s, name)
    metrics.LAST_RUN.labels(name).set_to_current_time()
    if name in _FREQUENT and not dry_run and not any(summary.values()):
        return summary
    log.info(
        "function_finished",
        function=name,
        dry_run=dry_run,
        took_s=round(pacer.elapsed_s, 3),
        complete=not pacer.out_of_time,
        **summary,
    )
    return summary
