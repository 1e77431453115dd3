"""Runs a function by name, in the same way for every host."""

from collections.abc import Callable
from typing import Final

import structlog

from functions import metrics
from functions.archive.archiver import archive
from functions.cleanup import cleanup
from functions.context import Context, Summary
from functions.offline_delivery import offline_delivery
from functions.pacer import Pacer
from functions.push import push_open
from functions.webhooks.sender import webhooks

log = structlog.get_logger(__name__)

Function = Callable[[Context, Pacer, bool], Summary]

FUNCTIONS: Final[dict[str, Function]] = {
    "cleanup": cleanup,
    "offline_delivery": offline_delivery,
    "push": push_open,
    "archive": archive,
    "webhooks": webhooks,
}
"""The functions that take no further arguments. `functions.schedule.JOBS` says when they run."""

_FREQUENT: Final = frozenset({"webhooks"})
"""Those that run every few seconds: a run that had nothing to do is not logged."""


def run(name: str, context: Context, *, dry_run: bool = False) -> Summary:
    """Run a function, log its summary as one event and return it. Raises what the function raises."""
    return run_function(name, FUNCTIONS[name], context, dry_run=dry_run)


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
    if name in _FREQUENT and not any(summary.values()):
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
