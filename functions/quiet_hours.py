"""When users must not be disturbed."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, tzinfo

from infra.settings.time_zones import load_time_zone

_SECOND = timedelta(seconds=1)


def quiet_until(hours: str | None, zone: str, now: datetime) -> datetime | None:
    """Return when the current quiet hours end, or None if `now` is not within quiet hours.

    `hours` looks like `22:00-07:00`, in local time of `zone` (IANA name). They may span midnight. It is quiet
    while the local clock shows a time within them. They end when the clock next shows their end, or when it
    is set forward past it.
    """
    if hours is None:
        return None
    start, end = (time.fromisoformat(part) for part in hours.split("-"))
    local_zone = load_time_zone(zone)
    until = now
    while _is_quiet(start, end, until.astimezone(local_zone).time()):  # again if the clock skips a whole day
        until = _next(end, local_zone, until)
    return until if until > now else None


def _is_quiet(start: time, end: time, clock: time) -> bool:
    return start <= clock < end if start <= end else not end <= clock < start


def _next(clock: time, zone: tzinfo, now: datetime) -> datetime:
    """Return the first moment after `now` at which the local clock shows `clock`, or is set past it."""
    today = now.astimezone(zone).date()
    days = (today + timedelta(days=number) for number in (-1, 0, 1, 2))  # the clock may change by a day
    moments = (moment for day in days for moment in _moments(datetime.combine(day, clock), zone))
    return min(moment for moment in moments if moment > now).astimezone(now.tzinfo)


def _moments(local: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield the moments at which the local clock shows a time: one or two, or that at which it is skipped."""
    early, late = sorted(local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if late.astimezone(zone).replace(tzinfo=None) == local:
        yield from (early, late)
    else:
        yield _change(zone, early, late)


def _change(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """Return the moment between two others at which the clock is set forward."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after.replace(microsecond=0)
