"""When users must not be disturbed."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo


def quiet_until(hours: str | None, zone: str, now: datetime) -> datetime | None:
    """Return when the current quiet hours end, or None if `now` is not within quiet hours.

    `hours` looks like `22:00-07:00`, in local time of `zone` (IANA name). They may span midnight.
    """
    if hours is None:
        return None
    start, end = (time.fromisoformat(part) for part in hours.split("-"))
    local = now.astimezone(ZoneInfo(zone))
    clock = local.time()
    is_quiet = start <= clock < end if start <= end else not end <= clock < start
    if not is_quiet:
        return None
    day = local.date() if clock < end else local.date() + timedelta(days=1)
    return datetime.combine(day, end, ZoneInfo(zone)).astimezone(now.tzinfo)
