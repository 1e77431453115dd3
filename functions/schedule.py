"""What runs when: the one table that Celery beat reads and that `serverless.yml` is tested against."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Job:
    """A function and the times at which it runs."""

    name: str
    """Name of the function, and of its module."""
    cron: str
    """Minute, hour, day of month, month, day of week (0 is Sunday)."""
    zone: str
    """IANA name of the time zone that `cron` counts in."""
    late_s: int
    """A run that could not begin within this time is left out."""


JOBS: Final = (
    Job("offline_delivery", "* * * * *", "UTC", late_s=60),
    Job("cleanup", "17 3 * * *", "Europe/Berlin", late_s=3_600),
    Job("archive", "47 3 * * *", "Europe/Berlin", late_s=3_600),
)
