"""The Socket.IO server: python-socketio, made to serve one namespace and one `Handler`.

It keeps payloads as the client's own JSON and hands every event to one method, whatever its name, so that
an event called `connect` is an event like any other.
"""

import asyncio
import logging
import time
from typing import Any, Final

import msgspec
import socketio
import structlog
from engineio import packet as frame
from engineio.payload import Payload
from socketio.exceptions import ConnectionRefusedError as ConnectionRefused
from starlette.types import ASGIApp

from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import error_event
from socket_edge.connection.api import DisconnectReason, Handler, State
from socket_edge.connection.bounds import (
    POLL_PACKETS,
    REFUSED_SIGN_INS,
    AddressGuard,
    BodyGuard,
    SendBounds,
    peer,
)
from socket_edge.connection.cors import Cors
from socket_edge.connection.end_log import EndLog
from socket_edge.connection.engineio import EngineConnection
from socket_edge.connection.packets import ATTACHMENT, Packet, Unparsed
from socket_edge.limits.addresses import Addresses
from socket_edge.limits.origins import Origins
from socket_edge.tasks import Tasks

log = structlog.get_logger(__name__)

_LIBRARY_LOG: Final = logging.getLogger("socketio")
_CLIENT_MISTAKES: Final = (
    *("bad-jsonp-index", "bad-origin", "bad-sid", "bad-transport", "bad-upgrade", "bad-version"),
    *("not-connected", "unexpected-http"),
)
"""Keys of client mistakes. engineio logs the first of each as an error, but clients are told anyway."""


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]
    """A python-socketio server whose connections call one `Handler`. Times in seconds, sizes in bytes."""

    handler: Handler
    """Must be set before the first client connects."""

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
            cors_allowed_origins=[],  # none of engineio's headers and checks, but those of `Cors`
            engineio_logger=_LIBRARY_LOG,
            logger=_LIBRARY_LOG,
            max_http_buffer_size=frame_bytes,
            monitor_clients=False,
            ping_interval=heartbeat_s,
            ping_timeout=heartbeat_timeout_s,
            serializer=Packet,
        )
        # By default, engineio drops a whole request that holds more than 16 packets.
        Payload.max_decode_packets = POLL_PACKETS
        # engineio would parse whatever a poll carries as JSON, which python-socketio cannot handle.
        frame.Packet.json = Unparsed
        self.eio.log_message_keys = set(_CLIENT_MISTAKES)
        self.send_bounds = send_bounds
        self.connect_s = connect_s
        self.tasks = Tasks()
        self._addresses = addresses
        self._origins = origins
        self._end_log = EndLog()
        self._beat_s = min(1.0, heartbeat_s / 4, heartbeat_timeout_s / 4)
        self.on("connect", self._admit)

    def asgi(self) -> ASGIApp:
        """Return the ASGI application for HTTP requests and websockets under the path of Socket.IO."""
        engine = socketio.ASGIApp(self, socketio_path=None)
        bounded = BodyGuard(engine, self.eio.max_http_buffer_size, self.is_signed_in, self.body_refused)
        return Cors(AddressGuard(bounded, self._addresses, self.is_polling), self._origins)

    async def beat(self) -> None:
        """Ping each connection regularly, and end those that do not answer; until cancelled."""
        while True:
            await asyncio.sleep(self._beat_s)
            now = time.monotonic()
            for connection in list(self.eio.sockets.values()):
                connection.beat(now)

    def shut_down_polls(self) -> None:
        """Let polling clients go once nothing is owed to them. Called when the server is shutting down."""
        for connection in list(self.eio.sockets.values()):
            if connection.websocket is None:
                connection.shutting_down()

    def end_all(self) -> None:
        """End the connections that are left at the end of the shutdown."""
        for connection in list(self.eio.sockets.values()):
            connection.end(DisconnectReason.SERVER_SHUTDOWN)

    def is_signed_in(self, eio_sid: str) -> bool:
        """Tell whether somebody is signed in on the connection with this Engine.IO id."""
        connection = self.eio.sockets.get(eio_sid)
        return connection is not None and connection.state is State.SIGNED_IN

    def is_polling(self, eio_sid: str) -> bool:
        """Tell whether there is a connection with this Engine.IO id that has no websocket."""
        connection = self.eio.sockets.get(eio_sid)
        return connection is not None and connection.websocket is None

    def body_refused(self, eio_sid: str, size: int) -> None:
        """Meter the body of a request that is refused, if it belongs to a connection."""
        connection = self.eio.sockets.get(eio_sid)
        if connection is not None:
            connection.is_allowed(size)

    def request_timed_out(self) -> None:
        """Note that a client was cut off before its request was complete."""
        self._end_log.add(DisconnectReason.REQUEST_TIMEOUT)

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
        self.eio.sockets.pop(connection.sid, None)

    def _expect_sign_in(self, connection: EngineConnection) -> None:
        loop = asyncio.get_running_loop()
        deadline = connection.sign_in_by = loop.time() + self.connect_s

        def check() -> None:
            # Each sign-out sets a new deadline.
            if connection.sign_in_by == deadline and connection.state is not State.SIGNED_IN:
                connection.end(DisconnectReason.SIGN_IN_TIMEOUT)

        loop.call_at(deadline, check)

    # What python-socketio calls. It knows connections by their Engine.IO ids.

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        # engineio has no hook for its socket class. This socket has not been read or written yet.
        connection = self.eio.sockets[eio_sid]
        connection.__class__ = EngineConnection
        connection.hub = self
        connection.session = None  # engineio keeps a dict there
        await super()._handle_eio_connect(eio_sid, environ)
        scope = environ["asgi.scope"]
        headers = dict(scope["headers"])
        connection.origin = headers.get(b"origin", b"").decode(errors="replace")
        connection.host = headers.get(b"host", b"").decode(errors="replace")
        connection.address = self._addresses.enter(peer(scope))
        self._expect_sign_in(connection)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        connection = self.eio.sockets[eio_sid]
        if not connection.is_allowed(connection.packet_bytes):
            return
        if connection.state is State.SIGNED_IN and namespace in {None, "/"}:
            return
        await super()._handle_connect(eio_sid, namespace, data)
        if connection.state is State.SIGNED_IN and namespace in {None, "/"}:
            if connection.websocket is not None:
                connection.websocket.trust()
            self.handler.signed_in(connection)
            return
        connection.refused_sign_ins += 1
        if connection.refused_sign_ins == REFUSED_SIGN_INS:
            connection.end(DisconnectReason.SIGN_IN_REFUSED)

    async def _admit(self, sid: str, environ: dict[str, Any], auth: str | None) -> None:
        connection = self._admitting[sid]
        try:
            connection.admitted = await self.handler.admit(connection, auth)
        except Rejection as rejection:
            raise _refusal(rejection) from rejection
        except Exception as error:
            log.exception("admission_failed", sid=sid)
            raise _refusal(Rejection(ErrorCode.INTERNAL)) from error

    async def _handle_disconnect(
        self, eio_sid: str, namespace: str | None, reason: str | None = None
    ) -> None:
        connection = self.eio.sockets[eio_sid]
        if connection.is_allowed(connection.packet_bytes) and namespace in {None, "/"}:
            connection.sign_out(DisconnectReason.CLIENT_DISCONNECT)

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:
        connection = self.eio.sockets[eio_sid]
        if namespace not in {None, "/"} or data is ATTACHMENT:
            connection.is_allowed(connection.packet_bytes)
        elif (work := connection.take_event(id, data, connection.packet_bytes)) is not None:
            await work

    async def _handle_ack(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:
        connection = self.eio.sockets[eio_sid]
        connection.take_ack(id if namespace in {None, "/"} else None, connection.packet_bytes)


class _SingleNamespace(socketio.AsyncManager):  # type: ignore[misc]
    """Replaces python-socketio's rooms: a connection itself knows who is signed in on it.

    A room takes 2 kB per socket, and leaving one means searching all of them.
    """

    def __init__(self, admitting: dict[str, EngineConnection]) -> None:
        super().__init__()
        self._admitting = admitting

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """Return a Socket.IO id for a sign-in, which is checked next; None if nobody can sign in now."""
        connection = self.server.eio.sockets[eio_sid]
        if connection.state is not State.OPEN:
            return None
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
