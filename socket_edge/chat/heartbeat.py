"""Watches over idle sessions: tokens that expire, and the application-level ping."""

import asyncio
import time
from datetime import UTC, datetime

from infra.wire import events
from infra.wire.errors import ErrorCode, Failure
from socket_edge.auth import Identity
from socket_edge.chat.session import ConnectedUsers, Session
from socket_edge.connection.api import DisconnectReason

_PERIOD_S = 1.0
_SHARE = 1 / 3
"""For a short-lived token, the client is warned when this share of its life is left."""
_LEAST_S = 2 * _PERIOD_S
"""Less would often leave no time between the warning and the end."""


class Heartbeat:
    """Checks all sessions once a second. Times in seconds."""

    def __init__(self, users: ConnectedUsers, ping_s: float, token_grace_s: float) -> None:
        """A client is told to refresh its token `token_grace_s` before the token expires, at the earliest."""
        self._users = users
        self._ping_s = ping_s
        self._token_grace_s = token_grace_s

    async def run(self) -> None:
        """Check all sessions regularly, until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            self.check()

    def check(self) -> None:
        """Check all sessions once."""
        for session in self._users:
            self._check_token(session)
            self._ping(session)

    def _check_token(self, session: Session) -> None:
        left_s = session.identity.expires_at - time.time()
        if left_s <= self._grace_s(session.identity) and not session.is_warned:
            session.is_warned = True
            failure = Failure.of(ErrorCode.TOKEN_EXPIRED, "The access token is about to expire: refresh it.")
            session.send(events.ERROR, events.error_event(failure))
        if left_s <= 0:
            session.end(DisconnectReason.TOKEN_EXPIRED)

    def _grace_s(self, identity: Identity) -> float:
        """Return how long before its end a client is told to refresh a token."""
        life_s = identity.expires_at - identity.presented_at
        return min(self._token_grace_s, max(life_s * _SHARE, _LEAST_S))

    def _ping(self, session: Session) -> None:
        now = time.monotonic()
        if session.next_ping_at and now >= session.next_ping_at:
            session.ping = (session.connection.next_ack_id(), now)
            ping = events.Ping(timestamp=events.iso_ms(datetime.now(UTC)))
            session.send(events.PING, ping, session.ping[0])
        if now >= session.next_ping_at:
            session.next_ping_at = now + self._ping_s
