"""The one module that knows python-socketio from the inside.

It keeps payloads as the client's own JSON, hands every event to one callback whatever its name (so
that an event called `connect` is an event like any other), keeps no callback per outgoing message,
and bounds what waits for a client that does not read.
"""

import asyncio
import logging
from typing import Any, Final, Protocol

import msgspec
import socketio
import structlog
from engineio import packet as frame
from engineio.async_socket import AsyncSocket
from engineio.exceptions import SocketIsClosedError
from engineio.payload import Payload
from socketio import packet
from socketio.exceptions import ConnectionRefusedError as Refusal

from infra.wire.errors import ErrorCode
from socket_edge.errors import EdgeError
from socket_edge.tasks import Tasks

log = structlog.get_logger(__name__)

_LIBRARY_LOG = logging.getLogger("socketio")

_PACKETS: Final = 10_000
"""Packets of one long-polling request."""
_PACKETS_OUT: Final = 16
"""Packets of one answer to it: clients on python-engineio refuse a longer one and lose the connection."""

_ATTACHMENT: Final = object()
"""Stands for a binary frame, which was refused with the event that announced it."""
MALFORMED: Final = object()
"""Stands for the data of a packet that is none."""


class Binary(str):
    """The JSON text of an event that announces binary attachments."""

    __slots__ = ()


class _Unparsed:
    """Takes the place of `json` in a packet: incoming JSON stays text."""

    @staticmethod
    def loads(text: str) -> str:
        return text

    @staticmethod
    def dumps(data: object, **_: object) -> str:
        return msgspec.json.encode(data).decode()


class _Packet(packet.Packet):  # type: ignore[misc]
    """A Socket.IO packet that is never binary and never raises on what a client has sent."""

    uses_binary_events = False
    json = _Unparsed

    def decode(self, encoded_packet: object) -> int:
        try:
            if isinstance(encoded_packet, str):
                super().decode(encoded_packet)
            elif isinstance(encoded_packet, bytes):
                self.packet_type, self.data = packet.EVENT, _ATTACHMENT
            else:
                raise ValueError("JSON that engineio has parsed")
        except ValueError:
            self.packet_type, self.namespace, self.id, self.data = packet.EVENT, None, None, MALFORMED
        if self.packet_type == packet.BINARY_EVENT:
            self.packet_type, self.data = packet.EVENT, Binary(self.data or "")
        elif self.packet_type == packet.BINARY_ACK:
            self.packet_type = packet.ACK
        elif self.packet_type == packet.CONNECT_ERROR or self.packet_type > packet.BINARY_ACK:
            self.packet_type, self.data = packet.EVENT, MALFORMED
        return 0


class _Socket(AsyncSocket):  # type: ignore[misc]
    """A connection that says what it has to say in portions, and knows how much that is."""

    waiting_bytes = 0
    """Size of what is queued or being written."""
    _rest: list[frame.Packet] = []  # noqa: RUF012 - replaced, never changed
    _leaving_bytes = 0

    async def poll(self) -> list[frame.Packet]:
        self.waiting_bytes -= self._leaving_bytes
        self._leaving_bytes = 0
        packets = self._rest or await super().poll()
        self._rest = packets[_PACKETS_OUT:]
        portion = packets[:_PACKETS_OUT]
        self._leaving_bytes = sum(len(p.data) for p in portion if p.packet_type == frame.MESSAGE)
        return portion


class Handler(Protocol):
    """What the transport calls. None of it may block; only `connect` may raise, and only EdgeError."""

    async def connect(self, sid: str, eio_sid: str, auth: str | None, scope: dict[str, Any]) -> None:
        """Admit a socket. Raises EdgeError to refuse it."""

    async def connected(self, sid: str) -> None:
        """Hear that the client has been told that it is connected."""

    async def event(self, sid: str, ack_id: int | None, data: object) -> None:
        """Take an event: its JSON text (`["name",payload]`; a Binary if it has attachments) or MALFORMED."""

    def acked(self, sid: str, ack_id: int) -> None:
        """Hear that the client has acked the event that was sent with `ack_id`."""

    def disconnected(self, sid: str, reason: str) -> None:
        """Hear that a socket is gone."""


class Transport(socketio.AsyncServer):  # type: ignore[misc]
    """A python-socketio server that speaks to one `Handler`."""

    def __init__(self, *, frame_bytes: int, send_queue: int, send_bytes: int, connect_s: float) -> None:
        _LIBRARY_LOG.setLevel(logging.WARNING)
        super().__init__(
            async_mode="asgi",
            async_handlers=False,
            # Origins are checked with the token, where a refusal can carry its code.
            cors_allowed_origins="*",
            cors_credentials=False,
            engineio_logger=_LIBRARY_LOG,
            logger=_LIBRARY_LOG,
            max_http_buffer_size=frame_bytes,
            serializer=_Packet,
        )
        # Its default of 16 makes engineio drop a whole request of a client that has more to say at once.
        Payload.max_decode_packets = _PACKETS
        self._send_queue = send_queue
        self._send_bytes = send_bytes
        self._connect_s = connect_s
        self._tasks = Tasks()
        self.on("connect", self._admit)
        self.on("disconnect", self._leave)

    def attach_handler(self, handler: Handler) -> None:
        """Name who is called. Must be done before the first client connects."""
        self._handler = handler

    async def send_event(self, eio_sid: str, event: str, data: bytes, ack_id: int | None = None) -> None:
        """Send `event` with rendered JSON; the client is asked for an ack if there is an `ack_id`."""
        number = "" if ack_id is None else str(ack_id)
        await self._write(eio_sid, f'2{number}["{event}",{data.decode()}]')

    async def send_ack(self, eio_sid: str, ack_id: int, data: bytes) -> None:
        """Answer the client's event `ack_id` with rendered JSON."""
        await self._write(eio_sid, f"3{ack_id}[{data.decode()}]")

    async def drop(self, eio_sid: str) -> None:
        """Close a connection that cannot keep up, without a word: the client connects again and resumes."""
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None:
            await socket.close(wait=False, abort=True, reason=self.reason.TRANSPORT_ERROR)
            # Ends engineio's writer, which closes the websocket.
            socket.queue.put_nowait(None)

    async def _write(self, eio_sid: str, text: str) -> None:
        socket = self.eio.sockets.get(eio_sid)
        if socket is None or socket.closed:
            return
        try:
            if socket.queue.qsize() >= self._send_queue or socket.waiting_bytes >= self._send_bytes:
                await self.drop(eio_sid)
            else:
                socket.waiting_bytes += len(text)
                await self.eio.send(eio_sid, text)
        except SocketIsClosedError:
            return

    async def _admit(self, sid: str, environ: dict[str, Any], auth: str | None) -> None:
        eio_sid = self.manager.eio_sid_from_sid(sid, "/")
        try:
            await self._handler.connect(sid, eio_sid, auth, environ["asgi.scope"])
        except EdgeError as error:
            raise _refusal(error) from error
        except Exception as error:
            log.exception("admission_failed", sid=sid)
            raise _refusal(EdgeError(ErrorCode.INTERNAL)) from error

    async def _leave(self, sid: str, reason: str) -> None:
        eio_sid = self.manager.eio_sid_from_sid(sid, "/")
        self._handler.disconnected(sid, reason)
        self._expect_sign_in(eio_sid)

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        # engineio has no hook to make its sockets; this one has not been read from or written to yet.
        self.eio.sockets[eio_sid].__class__ = _Socket
        await super()._handle_eio_connect(eio_sid, environ)
        self._expect_sign_in(eio_sid)

    def _expect_sign_in(self, eio_sid: str) -> None:
        """Close the connection if nobody is signed in on it some time from now."""

        def check() -> None:
            if self._sid(eio_sid, None) is None:
                self._tasks.start(self.drop(eio_sid))

        asyncio.get_running_loop().call_later(self._connect_s, check)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and not socket.upgraded:
            # Answers the request that a polling client has left open; engineio would hold it for 45 s.
            socket.queue.put_nowait(frame.Packet(frame.NOOP))
        await super()._handle_eio_disconnect(eio_sid, reason)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        if self._sid(eio_sid, namespace) is not None:
            return
        await super()._handle_connect(eio_sid, namespace, data)
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        if sid is None or not self.manager.is_connected(sid, namespace or "/"):
            return
        socket = self.eio.sockets.get(eio_sid)
        if socket is None or socket.closed:
            # It left while it was being admitted, when python-socketio does not listen for that.
            await self._handle_disconnect(eio_sid, namespace, self.reason.TRANSPORT_CLOSE)
        else:
            await self._handler.connected(sid)

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: object) -> None:
        sid = self._sid(eio_sid, namespace)
        if sid is not None and data is not _ATTACHMENT:
            await self._handler.event(sid, id, data)

    async def _handle_ack(self, eio_sid: str, namespace: str | None, id: int | None, data: object) -> None:
        sid = self._sid(eio_sid, namespace)
        if sid is not None and id is not None:
            self._handler.acked(sid, id)

    def _sid(self, eio_sid: str, namespace: str | None) -> str | None:
        sid: str | None = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        return sid if sid is not None and self.manager.is_connected(sid, namespace or "/") else None


def _refusal(error: EdgeError) -> Refusal:
    """Render an error the way clients get it: as `message` and `data` of `connect_error`."""
    data = {"code": error.code, "message": error.message, "retryable": error.retryable}
    return Refusal(error.message, data)
