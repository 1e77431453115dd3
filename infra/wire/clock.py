"""Redis time: the one clock that edges and workers share, even if their own clocks are wrong."""

import time


class RedisClock:
    """Tracks the offset between this process's monotonic clock and Redis time."""

    def __init__(self) -> None:
        self._offset_ms: float | None = None

    def note(self, seconds: int, micros: int) -> int:
        """Record an answer of the `TIME` command; return it in milliseconds since the epoch."""
        now_ms = seconds * 1000 + micros // 1000
        self._offset_ms = now_ms - time.monotonic() * 1000
        return now_ms

    def now_ms(self) -> int | None:
        """Return Redis time in milliseconds since the epoch, or None before the first `note`."""
        return None if self._offset_ms is None else int(self._offset_ms + time.monotonic() * 1000)
