"""The pause that a service asks for."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_MAX_S: Final = 21_600.0


def parse_retry_after(value: str) -> float | None:
    """Return `Retry-After`, seconds or a date (RFC 9110, 10.2.3), in seconds; at most 6 hours."""
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return min(float(value), _MAX_S)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    pause_s = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(pause_s, 0.0), _MAX_S)
