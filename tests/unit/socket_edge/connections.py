"""A fake `Connection`: records what is sent to a client, and how the connection ends."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from socket_edge.auth import Identity
from socket_edge.chat.session import Session
from socket_edge.connection.api import Connection, DisconnectReason, Farewell, State

FAR_FUTURE = 4_000_000_000
"""A token that expires in the year 2096, in seconds since the epoch."""


class Sent(NamedTuple):
    """An event that was sent to the client."""

    name: str
    payload: Any
    ack_id: int | None


class FakeConnection:
    """Implements `socket_edge.connection.api.Connection` without a network."""

    def __init__(self, connection_id: str = "connection-1") -> None:
        self.id = connection_id
        self.socket_id = "socket-1"
        self.state = State.OPEN
        self.session: Any = None
        self.origin = ""
        self.host = "chat.example"
        self._last_ack_id = 0
        self.sent: list[Sent] = []
        self.acks: list[tuple[int, Any]] = []
        self.reason: DisconnectReason | None = None
        """Why the sign-in or the connection was ended, if it was."""
        self.signed_out: Callable[[Any, DisconnectReason], None] = lambda _session, _reason: None

    def sign_in(self, session: Any) -> None:
        """Sign a client in."""
        self.session, self.socket_id, self.state = session, session.socket_id, State.SIGNED_IN

    def next_ack_id(self) -> int:
        """Return an unused ack id."""
        self._last_ack_id += 1
        return self._last_ack_id

    def send_event(self, name: str, data: bytes, ack_id: int | None = None) -> None:
        """Record an event."""
        if self.state is not State.CLOSED:
            self.sent.append(Sent(name, json.loads(bytes(data)), ack_id))

    def send_ack(self, ack_id: int, data: bytes) -> None:
        """Record an ack."""
        if self.state is not State.CLOSED:
            self.acks.append((ack_id, json.loads(bytes(data))))

    def end(self, reason: DisconnectReason) -> None:
        """Record the reason, and sign the client out."""
        if self.state is State.CLOSED:
            return
        self.reason = reason
        self.state = State.OPEN if reason.farewell is Farewell.SIGN_OUT else State.CLOSED
        session, self.session = self.session, None
        if session is not None:
            self.signed_out(session, reason)

    def names(self) -> list[str]:
        """Return the names of the events that were sent."""
        return [event.name for event in self.sent]

    def payloads(self, name: str) -> list[Any]:
        """Return the payloads of the events with this name."""
        return [event.payload for event in self.sent if event.name == name]


def connect(
    user_id: str = "bob", *, socket_id: str = "socket-1", expires_at: int = FAR_FUTURE, lane: int = 0
) -> tuple[FakeConnection, Session]:
    """Return a connection on which a user is signed in, and the session."""
    connection = FakeConnection(f"connection-of-{socket_id}")
    return connection, sign_in(connection, user_id, socket_id=socket_id, expires_at=expires_at, lane=lane)


def sign_in(
    connection: FakeConnection,
    user_id: str = "bob",
    *,
    socket_id: str = "socket-1",
    expires_at: int = FAR_FUTURE,
    lane: int = 0,
) -> Session:
    """Sign a user in on a connection; return the session."""
    port: Connection = connection
    session = Session(port, socket_id, Identity(user_id, expires_at, None), lane)
    connection.sign_in(session)
    return session
