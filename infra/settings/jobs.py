"""When functions run, and which jobs a team adds."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from infra.settings.base import Settings
from infra.settings.cron import Cron
from infra.settings.time_zones import TimeZone

_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def _module(value: str) -> str:
    if not _MODULE.fullmatch(value):
        raise ValueError("must be the name of a Python module or package, like myteam.jobs")
    return value


class JobSettings(Settings):
    """Settings of schedules."""

    jobs: Annotated[str, AfterValidator(_module)] | None = None
    """Python module or package with [jobs of your own](functions.md#jobs-of-your-own), like `myteam.jobs`."""
    offline_delivery_cron: Cron = "* * * * *"
    """When `offline_delivery` runs, in UTC: minute, hour, day of month, month, day of week (0 is Sunday)."""
    erase_users_cron: Cron = "* * * * *"
    """When `erase_users` runs, in UTC."""
    cleanup_cron: Cron = "17 3 * * *"
    """When `cleanup` runs."""
    archive_cron: Cron = "47 3 * * *"
    """When `archive` runs."""
    cron_zone: TimeZone = "Europe/Berlin"
    """Time zone of `CLEANUP_CRON` and `ARCHIVE_CRON`."""
