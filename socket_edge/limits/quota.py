"""How much one user may do on this edge, however many sockets it is done with, and across reconnections."""

import math
import time
from collections.abc import Callable
from typing import Final

import structlog

from infra.wire.errors import ErrorCode
from socket_edge.errors import EdgeError
from socket_edge.limits.rate import Rate

log = structlog.get_logger(__name__)

FLOOD: Final = 10
"""Refused events are answered up to so many times the limit; whoever sends more is not worth an answer."""
_LINES_PER_S: Final = 1 / 60
"""Log lines about one user."""


class TooFast(EdgeError):
    """The user does too much. `is_flood` says that they were told so often enough."""

    def __init__(self, wait_s: float, *, is_flood: bool = False) -> None:
        super().__init__(ErrorCode.RATE_LIMITED, retry_after_ms=math.ceil(wait_s * 1000))
        self.is_flood = is_flood


class Quota:
    """Counts events, their bytes, and sign-ins, by user."""

    def __init__(
        self, events: Rate, size: Rate, sign_ins: Rate, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._events = events
        self._size = size
        self._sign_ins = sign_ins
        self._refused_events = events.times(FLOOD)
        self._refused_size = size.times(FLOOD)
        self._lines = Rate(_LINES_PER_S, 1)
        self._clock = clock

    def sign_in(self, user_id: str) -> None:
        """Count a connection of the user. Raises TooFast."""
        now = self._clock()
        wait_s = self._sign_ins.take(user_id, now)
        if wait_s:
            self._note(user_id, now, "sign_ins")
            raise TooFast(wait_s)

    def spend(self, user_id: str, size: int) -> None:
        """Count an event of so many bytes. Raises TooFast if it is one too many; then it was not counted."""
        now = self._clock()
        wait_s = _take_both(self._events, self._size, user_id, now, size)
        if wait_s:
            is_flood = _take_both(self._refused_events, self._refused_size, user_id, now, size) > 0
            self._note(user_id, now, "flood" if is_flood else "events")
            raise TooFast(wait_s, is_flood=is_flood)

    def _note(self, user_id: str, now: float, what: str) -> None:
        if not self._lines.take((user_id, what), now):
            log.info("rate_limited", user=user_id, what=what)


def _take_both(events: Rate, size: Rate, user_id: str, now: float, amount: int) -> float:
    """Take an event and its bytes, or neither."""
    wait_s = max(events.wait_s(user_id, now), size.wait_s(user_id, now, amount))
    if not wait_s:
        events.spend(user_id, now)
        size.spend(user_id, now, amount)
    return wait_s
