"""Logs why connections without a signed-in user end; the handler logs all others.

A flood of strangers must not flood the log: each reason gets one line a second, and ends that get no
line are counted in the next one.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from socket_edge import metrics
from socket_edge.connection.api import DisconnectReason
from socket_edge.limits.token_bucket import TokenBucket

log = structlog.get_logger(__name__)

_LINES_PER_S: Final = 1
"""Log lines per reason."""


class EndLog:
    """Logs the ends of connections without a signed-in user, or counts them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = TokenBucket(_LINES_PER_S, 1)
        self._unlogged: Counter[DisconnectReason] = Counter()
        self._clock = clock

    def add(
        self,
        reason: DisconnectReason,
        connection_id: str | None = None,
        *,
        address: str | None = None,
        protocol: str | None = None,
    ) -> None:
        """Log an end, or count it. Without an id, the client never got as far as a connection.

        `address` and `protocol` are those of a client with another version of the protocol.
        """
        metrics.DISCONNECTS.counts[reason, "no"] += 1
        if self._lines.take(reason, self._clock()):
            self._unlogged[reason] += 1
        else:
            others = self._unlogged.pop(reason, 0)
            log.info(
                "connection_closed",
                connection=connection_id,
                reason=reason,
                others=others,
                address=address,
                protocol=protocol,
            )
