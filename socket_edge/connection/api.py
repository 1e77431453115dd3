"""What the rest of the edge sees of a client: one `Connection`, which calls one `Handler`."""

from collections.abc import Coroutine
from enum import Enum, StrEnum, auto
from typing import Any, Final, Protocol


class State(Enum):
    """Where a connection stands. A client may sign in, sign out and sign in again on one connection."""

    OPEN = auto()
    """Nobody is signed in. Ends after a while, unless somebody signs in."""
    ADMITTING = auto()
    """A sign-in is being checked."""
    SIGNED_IN = auto()
    CLOSED = auto()


class Farewell(Enum):
    """How a connection ends."""

    SIGN_OUT = auto()
    """A Socket.IO DISCONNECT. The client may sign in again; otherwise the connection closes soon."""
    CLOSE = auto()
    """A regular close of the transport."""
    CUT = auto()
    """The transport is cut off, and whatever waits in it is lost."""
    COME_BACK = auto()
    """A websocket close that asks the client to reconnect."""


class DisconnectReason(StrEnum):
    """Why a sign-in or its connection ended; the value is what logs say."""

    CLIENT_DISCONNECT = "client_disconnect"
    """The client said that it is leaving."""
    TRANSPORT_CLOSED = "transport_closed"
    """The client, or the network, closed the transport, or the TCP connection of a poll that waits."""
    PROTOCOL_ERROR = "protocol_error"
    """The client sent something that is no frame, no packet, or not what it may send now."""
    UNSUPPORTED_PROTOCOL = "unsupported_protocol"
    """The client speaks another version of the protocol."""
    PING_TIMEOUT = "ping_timeout"
    REQUEST_TIMEOUT = "request_timeout"
    """An HTTP request, or a websocket's handshake, did not arrive in time."""
    SIGN_IN_TIMEOUT = "sign_in_timeout"
    SIGN_IN_REFUSED = "sign_in_refused"
    """Too many sign-ins were refused on the connection."""
    TOKEN_EXPIRED = "token_expired"
    TOO_MANY_SOCKETS = "too_many_sockets"
    """The user opened more sockets than allowed; this was the oldest."""
    SIGNED_OUT = "signed_out"
    """The app's backend has signed the user out everywhere."""
    SLOW_CLIENT = "slow_client"
    """The client does not read what is sent to it."""
    FLOOD = "flood"
    """The client kept sending far above its limits."""
    SERVER_SHUTDOWN = "server_shutdown"

    @property
    def farewell(self) -> Farewell:
        """How the client is told, if it is the edge that ends the connection."""
        return _FAREWELLS.get(self, Farewell.CLOSE)


_FAREWELLS: Final = {
    DisconnectReason.TOKEN_EXPIRED: Farewell.SIGN_OUT,
    DisconnectReason.TOO_MANY_SOCKETS: Farewell.SIGN_OUT,
    DisconnectReason.SIGNED_OUT: Farewell.SIGN_OUT,
    DisconnectReason.REQUEST_TIMEOUT: Farewell.CUT,
    DisconnectReason.SLOW_CLIENT: Farewell.CUT,
    DisconnectReason.FLOOD: Farewell.CUT,
    DisconnectReason.SERVER_SHUTDOWN: Farewell.COME_BACK,
}


class Connection(Protocol):
    """One client. Sending to, or ending, a connection that has ended does nothing."""

    socket_id: str
    """Socket.IO id of the newest sign-in."""
    state: State
    session: Any
    """What the handler's `admit` returned; None unless somebody is signed in."""
    origin: str
    """The header `Origin` of the request that opened the connection; empty if there was none."""
    host: str
    """The header `Host` of that request."""

    @property
    def id(self) -> str:
        """Id of the connection, whoever is signed in on it."""

    def next_ack_id(self) -> int:
        """Return an ack id that was not used on this connection, whoever was signed in."""

    def send_event(self, name: str, data: bytes, ack_id: int | None = None) -> None:
        """Send an event with rendered JSON. With an `ack_id` the client is asked for an ack."""

    def send_ack(self, ack_id: int, data: bytes) -> None:
        """Answer the client's event `ack_id` with rendered JSON."""

    def end(self, reason: DisconnectReason) -> None:
        """End the sign-in or the connection, in the way that the reason implies. Does not wait."""


class Binary(str):
    """The JSON text of an event that announces binary attachments."""

    __slots__ = ()


EventData = str
"""An event as it arrives: JSON text that should be `["name",payload]` (`Binary` if it has attachments)."""


class Handler(Protocol):
    """What connections call. Nothing in it may block; only `admit` may raise, and only Rejection."""

    async def admit(self, connection: Connection, auth: str | None) -> object:
        """Return the session of a client that may sign in. Raises Rejection."""

    def signed_in(self, connection: Connection) -> None:
        """Called when the client has been told that it is connected."""

    def event(
        self, connection: Connection, ack_id: int | None, data: EventData, size: int
    ) -> Coroutine[Any, Any, None] | None:
        """Take an event of a signed-in client, who sent `size` bytes for it.

        Returns work that must finish before the connection's next event is read, if any.
        """

    def acked(self, connection: Connection, ack_id: int) -> None:
        """Take the client's ack of the event that was sent with `ack_id`."""

    def allows(self, connection: Connection, size: int, count: int = 1) -> bool:
        """Meter `count` packets of `size` bytes that are not events; False if that is far too much."""

    def signed_out(self, connection: Connection, session: Any, reason: DisconnectReason) -> None:
        """Called when a signed-in client is gone; `connection.session` is None by then."""

    def shutting_down(self, connection: Connection) -> None:
        """Called when the server is shutting down: end the connection once nothing is owed to the client."""
