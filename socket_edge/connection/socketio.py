"""The Socket.IO server: python-socketio, made to serve one namespace and one `Handler`.

It signs clients in and out. Everything else that a client sends, its connection hands to the handler.
"""

import asyncio
import logging
import math
import time
from typing import Any, Final

import msgspec
import socketio
import structlog
from socketio import packet
from socketio.exceptions import ConnectionRefusedError as ConnectionRefused
from starlette.types import ASGIApp, Scope

from infra.logs import shown
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import error_event
from socket_edge.connection.api import DisconnectReason, Handler, State
from socket_edge.connection.bounds import REFUSED_SIGN_INS, AddressGuard, SendBounds, peer
from socket_edge.connection.cors import Cors
from socket_edge.connection.end_log import EndLog
from socket_edge.connection.endpoint import Endpoint
from socket_edge.connection.engineio import EngineConnection
from socket_edge.connection.packets import Packet
from socket_edge.json_text import is_object
from socket_edge.limits.addresses import Addresses
from socket_edge.limits.origins import Origins
from socket_edge.tasks import Tasks

log = structlog.get_logger(__name__)

_LIBRARY_LOG: Final = logging.getLogger("socketio")
_TURN_S: Final = 0.05
_GO_AT_ONCE: Final = 5
"""So many clients may always leave in a turn: a hundred a second."""
_NO_ENVIRONMENT: Final[dict[str, Any]] = {}
_NO_NAMESPACE: Final = "Invalid namespace: connect to the default one."


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]
    """A python-socketio server whose connections call one `Handler`. Times in seconds, sizes in bytes."""

    handler: Handler
    """Must be set before the first client connects."""
    is_draining = False
    """Whether new clients are refused because the edge is about to stop."""

    def __init__(
        self,
        *,
        addresses: Addresses,
        origins: Origins,
        send_bounds: SendBounds,
        frame_bytes: int,
        connect_s: float,
        heartbeat_s: float,
        heartbeat_timeout_s: float,
    ) -> None:
        """`connect_s` bounds a connection without a sign-in; `frame_bytes` bounds a frame and a poll."""
        _LIBRARY_LOG.setLevel(logging.WARNING)
        self._admitting: dict[str, EngineConnection] = {}
        """Connections whose sign-in is being checked, by Socket.IO id."""
        super().__init__(
            async_mode="asgi",
            async_handlers=False,
            client_manager=_SingleNamespace(self._admitting),
            engineio_logger=_LIBRARY_LOG,
            logger=_LIBRARY_LOG,
            monitor_clients=False,
            serializer=Packet,
        )
        self.eio.hub = self
        self.send_bounds = send_bounds
        self.connect_s = connect_s
        self.heartbeat_s = heartbeat_s
        self.heartbeat_timeout_s = heartbeat_timeout_s
        self.max_payload = frame_bytes
        self.tasks = Tasks()
        self._addresses = addresses
        self._origins = origins
        self._end_log = EndLog()
        self._beat_s = min(1.0, heartbeat_s / 4, heartbeat_timeout_s / 4)
        self.on("connect", self._admit)

    def asgi(self) -> ASGIApp:
        """Return the ASGI application for HTTP requests and websockets under the path of Socket.IO."""
        guarded = AddressGuard(self.eio.handle_request, self._addresses, self.is_polling)
        return Cors(guarded, self._origins)

    async def beat(self) -> None:
        """Ping each connection regularly, and end those that do not answer; until cancelled."""
        while True:
            await asyncio.sleep(self._beat_s)
            now = time.monotonic()
            for connection in list(self.eio.sockets.values()):
                connection.beat(now)

    async def drain(self, seconds: float) -> None:
        """Take no new clients, and let the others go, evenly over that time; few of them go sooner."""
        self.is_draining = True
        ends_at = time.monotonic() + seconds
        while left := [one for one in self.eio.sockets.values() if not one.is_leaving]:
            turns = max(1.0, (ends_at - time.monotonic()) / _TURN_S)
            for connection in left[: max(_GO_AT_ONCE, math.ceil(len(left) / turns))]:
                connection.let_go()
            await asyncio.sleep(_TURN_S)

    def shut_down_polls(self) -> None:
        """Let polling clients go once nothing is owed to them. Called when the server is shutting down."""
        for connection in list(self.eio.sockets.values()):
            if connection.is_polling:
                connection.shutting_down()

    def end_all(self) -> None:
        """End the connections that are left at the end of the shutdown."""
        for connection in list(self.eio.sockets.values()):
            connection.end(DisconnectReason.SERVER_SHUTDOWN)

    def is_polling(self, eio_sid: str) -> bool:
        """Tell whether there is a connection with this Engine.IO id that has no websocket."""
        connection = self.eio.sockets.get(eio_sid)
        return connection is not None and connection.is_polling

    def request_timed_out(self) -> None:
        """Note that a client was cut off before its request was complete."""
        self._end_log.add(DisconnectReason.REQUEST_TIMEOUT)

    def unsupported_version(self, scope: Scope, version: str) -> None:
        """Note that a client was refused because of the version of its protocol."""
        self._end_log.add(
            DisconnectReason.UNSUPPORTED_PROTOCOL, address=shown(peer(scope)), protocol=shown(version or None)
        )

    def opened(self, connection: EngineConnection, scope: Scope) -> None:
        """Take note of a new connection, and expect a sign-in."""
        headers = dict(scope["headers"])
        connection.origin = headers.get(b"origin", b"").decode(errors="replace")
        connection.host = headers.get(b"host", b"").decode(errors="replace")
        connection.address = self._addresses.enter(peer(scope))
        # python-socketio passes this on when it signs the client in; nobody reads it.
        self.environ[connection.sid] = _NO_ENVIRONMENT
        self._expect_sign_in(connection)

    def signed_out(self, connection: EngineConnection, session: object, reason: DisconnectReason) -> None:
        """Tell the handler, and expect another sign-in."""
        self.handler.signed_out(connection, session, reason)
        if not connection.closing:
            self._expect_sign_in(connection)

    def closed(self, connection: EngineConnection, reason: DisconnectReason, *, was_signed_in: bool) -> None:
        """Forget a connection."""
        if not was_signed_in:
            self._end_log.add(reason, connection.id)
        self._addresses.leave(connection.address)
        self.environ.pop(connection.sid, None)
        self.eio.forget(connection)

    def _expect_sign_in(self, connection: EngineConnection) -> None:
        loop = asyncio.get_running_loop()
        deadline = connection.sign_in_by = loop.time() + self.connect_s

        def check() -> None:
            # Each sign-out sets a new deadline.
            if connection.sign_in_by == deadline and connection.state is not State.SIGNED_IN:
                connection.end(DisconnectReason.SIGN_IN_TIMEOUT)

        loop.call_at(deadline, check)

    async def connect(self, connection: EngineConnection, namespace: str, auth: str) -> None:
        """Answer a client that asks to sign in with this JSON, unless somebody is signing in or signed in."""
        if namespace != "/":
            refusal = _refusal(Rejection(ErrorCode.INVALID_PAYLOAD, _NO_NAMESPACE)).error_args
            connection.send_packet(Packet(packet.CONNECT_ERROR, refusal, namespace).encode())
        elif connection.state is not State.OPEN:
            if auth and not is_object(auth):
                connection.end(DisconnectReason.PROTOCOL_ERROR)
            return
        else:
            await self._handle_connect(connection.sid, namespace, auth)
        if namespace == "/" and connection.session is not None:
            self.handler.signed_in(connection)
        else:
            self._count_refusal(connection, auth)

    def _count_refusal(self, connection: EngineConnection, auth: str) -> None:
        """End the connection of a client that is refused once too often, or that sent no JSON object."""
        connection.refused_sign_ins += 1
        if connection.refused_sign_ins == REFUSED_SIGN_INS:
            connection.end(DisconnectReason.SIGN_IN_REFUSED)
        elif auth and not is_object(auth):
            connection.end(DisconnectReason.PROTOCOL_ERROR)

    # What python-socketio calls. It knows connections by their Engine.IO ids.

    def _engineio_server_class(self) -> type[Endpoint]:
        return Endpoint

    async def _send_packet(self, eio_sid: str, pkt: Packet) -> None:
        connection = self.eio.sockets.get(eio_sid)
        if connection is not None:
            connection.send_packet(pkt.encode())

    async def _admit(self, sid: str, environ: dict[str, Any], auth: str | None) -> None:
        connection = self._admitting[sid]
        try:
            connection.admitted = await self.handler.admit(connection, auth)
        except Rejection as rejection:
            raise _refusal(rejection) from rejection
        except Exception as error:
            log.exception("admission_failed", sid=sid)
            raise _refusal(Rejection(ErrorCode.INTERNAL)) from error


class _SingleNamespace(socketio.AsyncManager):  # type: ignore[misc]
    """Replaces python-socketio's rooms: a connection itself knows who is signed in on it.

    A room takes 2 kB per socket, and leaving one means searching all of them.
    """

    def __init__(self, admitting: dict[str, EngineConnection]) -> None:
        super().__init__()
        self._admitting = admitting

    async def pre_connect(self, eio_sid: str, namespace: str) -> str:
        """Return a Socket.IO id for a sign-in, which is checked next."""
        connection = self.server.eio.sockets[eio_sid]
        sid: str = self.server.eio.generate_id()
        connection.socket_id, connection.state = sid, State.ADMITTING
        self._admitting[sid] = connection
        return sid

    async def connect(self, sid: str, namespace: str) -> str:
        """Called when a client was admitted and told so, though it may have left meanwhile."""
        self._admitting.pop(sid).sign_in()
        return sid

    async def disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        """Called when a client was refused."""
        connection = self._admitting.pop(sid)
        if not connection.closed:
            connection.state = State.OPEN


def _refusal(rejection: Rejection) -> ConnectionRefused:
    """Return a rejection as clients receive it: as `message` and `data` of `connect_error`."""
    return ConnectionRefused(rejection.message, msgspec.to_builtins(error_event(rejection.failure())))
