"""How much one user may do on this edge, on all their sockets together and across reconnections."""

import math
import time
from collections.abc import Callable
from typing import Final

import structlog

from infra.wire.errors import ErrorCode, Rejection
from socket_edge.limits.token_bucket import TokenBucket

log = structlog.get_logger(__name__)

_FLOOD: Final = 10
"""Anything but an accepted event may come at this multiple of the event limit. Answering more is a waste."""
_LINES_PER_S: Final = 1 / 60
"""Log lines per user."""


class UserLimiter:
    """Meters everything a client sends: sign-ins, events, and all the rest (acks, pings, refused events)."""

    def __init__(
        self,
        events: TokenBucket,
        size: TokenBucket,
        sign_ins: TokenBucket,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`size` limits the bytes of events."""
        self._events = events
        self._size = size
        self._sign_ins = sign_ins
        self._flood_events = events.times(_FLOOD)
        self._flood_size = size.times(_FLOOD)
        self._lines = TokenBucket(_LINES_PER_S, 1)
        self._clock = clock

    def sign_in(self, user_id: str) -> None:
        """Count a sign-in of the user. Raises Rejection(rate_limited)."""
        now = self._clock()
        wait_s = self._sign_ins.take(user_id, now)
        if wait_s:
            self._log(user_id, now, "sign_ins")
            raise _too_fast(wait_s)

    def event(self, user_id: str, size: int) -> None:
        """Count an event of `size` bytes. Raises Rejection(rate_limited), and then counts nothing."""
        now = self._clock()
        wait_s = _take_both(self._events, self._size, user_id, now, size)
        if wait_s:
            self._log(user_id, now, "events")
            raise _too_fast(wait_s)

    def allows(self, user_id: str | None, connection_id: str, size: int, count: int = 1) -> bool:
        """Count `count` packets of `size` bytes that are not accepted events.

        False if that is far more than anybody needs.

        Until somebody signs in (`user_id` is None), the limits apply to the connection instead of a user.
        """
        now = self._clock()
        key = user_id or connection_id
        if not _take_both(self._flood_events, self._flood_size, key, now, size, count):
            return True
        self._log(user_id, now, "flood")
        return False

    def _log(self, user_id: str | None, now: float, what: str) -> None:
        if not self._lines.take((user_id, what), now):
            log.info("rate_limited", user=user_id, what=what)


def _too_fast(wait_s: float) -> Rejection:
    return Rejection(ErrorCode.RATE_LIMITED, retry_after_ms=math.ceil(wait_s * 1000))


def _take_both(
    events: TokenBucket, size: TokenBucket, key: str, now: float, amount: int, count: int = 1
) -> float:
    """Take `count` events of `amount` bytes, or nothing; return the seconds until all is available."""
    wait_s = max(events.wait_s(key, now, count), size.wait_s(key, now, amount))
    if not wait_s:
        events.spend(key, now, count)
        size.spend(key, now, amount)
    return wait_s
