"""Jobs of your own: `@job` makes a function one that beat, AWS Lambda and `bbgram run` run by its name.

docs/functions.md shows one from start to end. This module, `Context`, `Pacer` and `Summary` are public.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from functions.context import Context, Summary
from functions.pacer import Pacer
from infra.settings.cron import check_cron
from infra.settings.time_zones import check_time_zone

__all__ = ["Context", "Function", "Job", "OwnJob", "Pacer", "Summary", "job"]

Function = Callable[[Context, Pacer, bool], Summary]
"""A function takes its context, its pacer, and whether it must only count what it would do."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Job:
    """A function and when it runs."""

    name: str
    cron: str
    """Minute, hour, day of month, month, day of week (0 is Sunday)."""
    zone: str
    """IANA name of the time zone of `cron`."""
    late_s: int
    """A run that could not start within this time is skipped."""
    requires: str | None = None
    """The setting of the functions without which it is not scheduled."""
    retry: bool = False
    """Whether a run that failed or died may start again for the same time. Only AWS Lambda asks for that."""

    def __str__(self) -> str:
        return f"{self.cron} {self.zone}"


@dataclass(frozen=True, slots=True)
class OwnJob:
    """A job of a team. Tests may call it like the function that it was."""

    job: Job
    function: Function

    def __call__(self, context: Context, pacer: Pacer, dry_run: bool) -> Summary:
        """Run the function."""
        return self.function(context, pacer, dry_run)


def job(
    name: str, *, cron: str, zone: str = "UTC", late_s: int = 3_600, retry: bool = False
) -> Callable[[Function], OwnJob]:
    """Return a decorator that makes a function a job. Raises ValueError if an argument is wrong.

    `late_s` is how late a run may start, at least 60. With `retry`, AWS Lambda runs it again if it failed.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"the name {name!r} must be 1 to 40 of a-z, 0-9 and _, and begin with a letter")
    if late_s < 60:
        raise ValueError(f"late_s of {name} must be at least 60")
    try:
        made = Job(name, check_cron(cron), check_time_zone(zone), late_s, retry=retry)
    except ValueError as error:
        raise ValueError(f"cron or zone of {name} {error}") from None
    return lambda function: OwnJob(made, function)
