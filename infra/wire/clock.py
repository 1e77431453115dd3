"""The time of Redis: the one clock that edges and workers agree on, whatever their own clocks say."""

import time


class RedisClock:
    """Remembers how far the monotonic clock of this process is from the time of Redis."""

    def __init__(self) -> None:
        self._offset_ms: float | None = None

    def note(self, seconds: int, micros: int) -> int:
        """Take the answer of the `TIME` command; return it in milliseconds since the epoch."""
        now_ms = seconds * 1000 + micros // 1000
        self._offset_ms = now_ms - time.monotonic() * 1000
        return now_ms

    def now_ms(self) -> int | None:
        """Return the time of Redis in milliseconds since the epoch; None before it was ever asked."""
        return None if self._offset_ms is None else int(self._offset_ms + time.monotonic() * 1000)
