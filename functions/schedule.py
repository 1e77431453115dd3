"""Which functions there are, and when each runs: our own, and those of a team.

Beat and `bbgram run` read it, and a test compares `serverless.yml` with it.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Final

from functions.jobs import Job, OwnJob
from infra.settings.base import SettingsError, variable
from infra.settings.jobs import JobSettings

RESERVED: Final = frozenset(
    {"archive", "cleanup", "erase_users", "offline_delivery", "push", "restore", "webhooks"}
)
"""The names of our own functions."""


def built_in_jobs(settings: JobSettings) -> tuple[Job, ...]:
    """Return those of our jobs that are enabled. All are safe to repeat."""
    zone = settings.cron_zone
    ours = (
        # In another zone, AWS would leave out the hour that a clock shows twice.
        Job("offline_delivery", settings.offline_delivery_cron, "UTC", late_s=60, retry=True),
        Job("erase_users", settings.erase_users_cron, "UTC", late_s=60, retry=True),
        Job("cleanup", settings.cleanup_cron, zone, late_s=3_600, retry=True),
        Job("archive", settings.archive_cron, zone, late_s=3_600, requires="archive_bucket", retry=True),
    )
    return tuple(job for job in ours if job.requires is None or getattr(settings, job.requires, None))


def own_jobs(settings: JobSettings) -> dict[str, OwnJob]:
    """Return the jobs of the team by name. Raises SettingsError if the package cannot be used."""
    return load_jobs(settings.jobs) if settings.jobs else {}


def schedule(settings: JobSettings) -> tuple[Job, ...]:
    """Return all enabled jobs. Raises SettingsError as `own_jobs` does."""
    return (*built_in_jobs(settings), *(own.job for own in own_jobs(settings).values()))


@cache
def load_jobs(package: str) -> dict[str, OwnJob]:
    """Import a module, or a package with all its modules, and return its jobs. Raises SettingsError."""
    try:
        modules = list(_modules(package))
    except Exception as error:
        raise _wrong(f"{package} cannot be imported ({type(error).__name__}: {error})") from error
    found: dict[str, OwnJob] = {}
    for module in modules:
        for own in (value for value in vars(module).values() if isinstance(value, OwnJob)):
            if own.job.name in RESERVED or found.setdefault(own.job.name, own) is not own:
                raise _wrong(f"{package} has a job {own.job.name}, but another function has this name")
    if not found:
        raise _wrong(f"no module of {package} has a job; see `functions.jobs.job`")
    return found


def _modules(package: str) -> Iterator[ModuleType]:
    module = importlib.import_module(package)
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        yield from _modules(f"{package}.{found.name}")


def _wrong(why: str) -> SettingsError:
    return SettingsError(f"{variable('jobs')} is wrong: {why}.")
