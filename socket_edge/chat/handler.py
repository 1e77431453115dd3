"""The edge's `Handler`: where a connection meets the chat."""

import time
from collections.abc import Coroutine
from typing import Any

import structlog

from socket_edge.chat.admission import Admission
from socket_edge.chat.events import ClientEvents
from socket_edge.chat.session import Session
from socket_edge.connection.api import Connection, DisconnectReason, EventData
from socket_edge.delivery.deliver import Delivery
from socket_edge.limits.users import UserLimiter

log = structlog.get_logger(__name__)


class ChatHandler:
    """Implements `socket_edge.connection.api.Handler`."""

    def __init__(
        self, admission: Admission, events: ClientEvents, delivery: Delivery, limiter: UserLimiter
    ) -> None:
        self._admission = admission
        self._events = events
        self._delivery = delivery
        self._limiter = limiter

    async def admit(self, connection: Connection, auth: str | None) -> Session:
        """Return the session of a client that may sign in. Raises Rejection."""
        return await self._admission.admit(connection, auth)

    def signed_in(self, connection: Connection) -> None:
        """Welcome the client."""
        self._admission.welcome(connection.session)

    def event(
        self, connection: Connection, ack_id: int | None, data: EventData, size: int
    ) -> Coroutine[Any, Any, None] | None:
        """Take an event."""
        return self._events.take(connection.session, ack_id, data, size)

    def acked(self, connection: Connection, ack_id: int) -> None:
        """Take the ack of a ping or of a message."""
        session: Session = connection.session
        if session.ping is not None and session.ping[0] == ack_id:
            log.debug("ping", user=session.user_id, round_trip_s=time.monotonic() - session.ping[1])
            session.ping = None
        self._delivery.acked(session, ack_id)

    def allows(self, connection: Connection, size: int, count: int = 1) -> bool:
        """Meter anything that is not an event."""
        session: Session | None = connection.session
        user_id = None if session is None else session.user_id
        return self._limiter.allows(user_id, connection.id, size, count)

    def signed_out(self, connection: Connection, session: Session, reason: DisconnectReason) -> None:
        """Clean up after the client."""
        self._admission.leave(session, reason)

    def shutting_down(self, connection: Connection) -> None:
        """End the connection once the client's requests are answered."""
        session: Session = connection.session
        session.is_leaving = True
        if not session.unanswered:
            session.end(DisconnectReason.SERVER_SHUTDOWN)
