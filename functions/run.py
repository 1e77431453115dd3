"""Runs a function by name, the same way whoever hosts it."""

from collections.abc import Callable
from typing import Final

import structlog

from functions.archive import archive
from functions.cleanup import cleanup
from functions.context import Context, Stopwatch, Summary
from functions.offline_delivery import offline_delivery
from functions.push import push_due

log = structlog.get_logger(__name__)

Function = Callable[[Context, Stopwatch, bool], Summary]

FUNCTIONS: Final[dict[str, Function]] = {
    "cleanup": cleanup,
    "offline_delivery": offline_delivery,
    "push": push_due,
    "archive": archive,
}
"""What can be run without arguments; `functions.schedule.JOBS` says when."""


def run(name: str, context: Context, *, dry_run: bool = False) -> Summary:
    """Run the function, log its summary as one event and return it. Raises what the function raises."""
    return run_and_tell(name, FUNCTIONS[name], context, dry_run=dry_run)


def run_and_tell(name: str, function: Function, context: Context, *, dry_run: bool) -> Summary:
    """Do the same with a function that takes more than the table knows, like `restore`."""
    watch = Stopwatch(context.settings.run_s)
    summary = function(context, watch, dry_run)
    log.info(
        "function_finished",
        function=name,
        dry_run=dry_run,
        took_s=round(watch.elapsed_s, 3),
        complete=not watch.is_over,
        **summary,
    )
    return summary
