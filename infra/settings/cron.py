"""Cron expressions in settings and jobs: minute, hour, day of month, month, day of week (0 is Sunday)."""

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator

_FIELDS: Final = 5
_SAMPLE: Final = datetime(2026, 1, 1, tzinfo=UTC)


def check_cron(value: str) -> str:
    """Return a cron expression, with single spaces. Raises ValueError if it is wrong, or never due."""
    from cronsim import CronSim, CronSimError

    fields = value.split()
    try:
        if len(fields) != _FIELDS:
            raise CronSimError(f"it has {len(fields)} fields instead of {_FIELDS}")
        if next(CronSim(value, _SAMPLE), None) is None:
            raise CronSimError("it is never due")
    except CronSimError as error:
        reason = str(error)
        raise ValueError(
            f"must be a cron expression like `17 3 * * *` ({reason[:1].lower()}{reason[1:]})"
        ) from None
    return " ".join(fields)


Cron = Annotated[str, AfterValidator(check_cron)]
