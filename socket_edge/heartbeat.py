"""Looks after idle sockets: tokens that expire, and the application-level ping."""

import asyncio
import time
from datetime import UTC, datetime

import msgspec

from infra.wire import events
from infra.wire.errors import ErrorCode, Failure
from socket_edge.sessions import ConnectedUsers, Session
from socket_edge.transport import Transport

_PERIOD_S = 1.0


class Heartbeat:
    """Goes round all sockets once a second."""

    def __init__(
        self, transport: Transport, users: ConnectedUsers, ping_s: float, token_grace_s: float
    ) -> None:
        self._transport = transport
        self._users = users
        self._ping_s = ping_s
        self._token_grace_s = token_grace_s

    async def run(self) -> None:
        """Go round and round, until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            for session in self._users:
                await self._check_token(session)
                self._ping(session)

    async def _check_token(self, session: Session) -> None:
        left_s = session.identity.expires_at - time.time()
        if left_s <= self._token_grace_s and not session.warned:
            session.warned = True
            failure = Failure.of(ErrorCode.TOKEN_EXPIRED, "The access token is about to expire: refresh it.")
            data = msgspec.json.encode(events.error_event(failure))
            self._transport.send_event(session.eio_sid, events.ERROR, data)
        if left_s <= 0:
            await self._transport.disconnect(session.sid)

    def _ping(self, session: Session) -> None:
        now = time.monotonic()
        if session.next_ping_at and now >= session.next_ping_at:
            session.ping = (session.next_ack_id(), now)
            data = msgspec.json.encode(events.Ping(timestamp=events.iso_ms(datetime.now(UTC))))
            self._transport.send_event(session.eio_sid, events.PING, data, session.ping[0])
        if now >= session.next_ping_at:
            session.next_ping_at = now + self._ping_s
