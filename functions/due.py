"""The times at which a job is due, by the clock of its zone.

Where clocks change, they follow Debian's cron. A job with a fixed minute and hour runs once for a time that
the clock shows twice, and once for a time that it skips, as soon as it has. One whose minute or hour begins
with `*` goes by the time that passes.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Final

from cronsim import CronSim

from functions.jobs import Job
from infra.settings.time_zones import load_time_zone

_SPANS: Final = tuple(timedelta(hours=hours) for hours in (3, 50, 1_000, 10_000, 100_000, 500_000))
"""How far to look back for the newest time. A clock never goes back as far as the first."""
_COUNT_MAX: Final = 1_000


def times(job: Job, after: datetime) -> Iterator[datetime]:
    """Yield when the job is due after a time, in UTC."""
    for time in CronSim(job.cron, after.astimezone(load_time_zone(job.zone))):
        # Within an hour that the clock shows twice, CronSim begins with those of the first one.
        if (due := time.astimezone(UTC)) > after:
            yield due


def next_due(job: Job, after: datetime) -> datetime:
    """Return the first time after `after`."""
    return next(times(job, after))


def newest_due(job: Job, now: datetime) -> datetime | None:
    """Return the last time up to `now`. None if there was none within half a century."""
    # CronSim can go backwards, but not through an hour that the clock shows twice.
    for span in _SPANS:
        if found := deque(_times_until(job, now - span, now), maxlen=1):
            return found[0]
    return None


def count_due(job: Job, after: datetime, until: datetime) -> int:
    """Return how often the job was due after a time, up to another: at most 1,000."""
    return sum(1 for _ in islice(_times_until(job, after, until), _COUNT_MAX))


def _times_until(job: Job, after: datetime, until: datetime) -> Iterator[datetime]:
    return takewhile(lambda due: due <= until, times(job, after))
