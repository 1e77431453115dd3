"""When each function runs. Celery beat reads this table, and a test compares `serverless.yml` with it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Job:
    """A function and when it runs."""

    name: str
    """Name of the function in `functions.run.FUNCTIONS`."""
    cron: str
    """Minute, hour, day of month, month, day of week (0 is Sunday)."""
    zone: str
    """IANA name of the time zone of `cron`."""
    late_s: int
    """A run that could not start within this time is skipped."""
    requires: str | None = None
    """The setting of the functions without which beat leaves it out."""


JOBS: Final = (
    Job("offline_delivery", "* * * * *", "UTC", late_s=60),
    Job("cleanup", "17 3 * * *", "Europe/Berlin", late_s=3_600),
    Job("archive", "47 3 * * *", "Europe/Berlin", late_s=3_600, requires="archive_bucket"),
)
