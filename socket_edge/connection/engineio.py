"""A client on Engine.IO: the `api.Connection`, over long polling or a websocket.

python-engineio gives each websocket a task, a timer and a queue for what it reads and writes. Here a
websocket calls back with each frame, a write never waits, and one heartbeat serves all connections.
What a client sends over either transport goes through `_handle`.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import msgspec
import structlog
from engineio import packet as frame
from socketio import packet
from starlette.types import Receive, Scope, Send

from socket_edge.connection.api import Binary, DisconnectReason, EventData, Farewell, Handler, State
from socket_edge.connection.bounds import ACK_BYTES, POLL_ANSWER_PACKETS, SendBounds
from socket_edge.connection.handshake import Handshake
from socket_edge.connection.packets import is_frame, read_packet, size_of, split_message
from socket_edge.connection.polling import Polls
from socket_edge.connection.websocket import WebSocket
from socket_edge.tasks import Tasks

log = structlog.get_logger(__name__)

_CLOSE: Final = str(frame.CLOSE)
_PING: Final = str(frame.PING)
_PONG: Final = str(frame.PONG)
_MESSAGE: Final = str(frame.MESSAGE)
_DISCONNECT: Final = str(packet.DISCONNECT).encode()

_REQUESTS_PER_MESSAGE: Final = 2
"""One that fetches it, and one that acks it."""
_ANNOUNCED: Final = (DisconnectReason.PROTOCOL_ERROR, DisconnectReason.SIGN_IN_REFUSED)
"""Ends that the client is told of by a CLOSE packet."""
_LAST_WORDS_CHARS: Final = 8_192
"""How much of that is kept for a client that is between two polls."""
_LOSING: Final = (DisconnectReason.PROTOCOL_ERROR, DisconnectReason.FLOOD, DisconnectReason.SLOW_CLIENT)
"""Ends that a request causes itself, and with which some of its packets may be lost."""


class Hub(Protocol):
    """What all connections share. Times are in seconds."""

    handler: Handler
    send_bounds: SendBounds
    connect_s: float
    """How long an upgrade may take."""
    heartbeat_s: float
    heartbeat_timeout_s: float
    max_payload: int
    """Largest frame or request, in bytes."""
    tasks: Tasks

    async def connect(self, connection: Any, namespace: str, auth: str) -> None:
        """Answer a client that asks to sign in with this JSON."""

    def signed_out(self, connection: Any, session: object, reason: DisconnectReason) -> None:
        """Called when the client that was signed in has left."""

    def closed(self, connection: Any, reason: DisconnectReason, *, was_signed_in: bool) -> None:
        """Called once, when a connection has ended, and after `signed_out` if somebody was signed in."""


class OpenPacket(msgspec.Struct, frozen=True, rename="camel"):
    """The server's terms, with which a connection begins."""

    sid: str
    upgrades: tuple[str, ...]
    ping_timeout: int
    """Milliseconds."""
    ping_interval: int
    """Milliseconds."""
    max_payload: int
    """Bytes."""


class EngineConnection:
    """The `api.Connection`."""

    socket_id = ""
    state = State.OPEN
    session: Any = None
    admitted: Any = None
    """The session of a client that was admitted, and is about to be told so."""
    websocket: WebSocket | None = None
    origin = host = ""
    address: bytes | None = None
    """Key under which the client's address is counted."""
    requests_due = 0
    """Requests that the client may need to fetch and ack the messages it was sent."""
    refused_sign_ins = 0
    sign_in_by = math.inf
    """Monotonic time in seconds at which the connection ends, unless somebody is signed in."""
    closed = closing = False

    _polls: Polls | None = None
    """What waits for polls; None on a connection that began as a websocket."""
    _is_polled = _is_posting = _is_upgrading = False
    _last_ack_id = 0
    _end_reason: DisconnectReason | None = None
    _acks_due = 0
    """Acks that the client was asked for and has not sent yet."""
    _attachments_due = 0
    """Binary packets that the client has announced and not sent yet."""
    _was_signed_out = False
    """Whether the server has signed the client out, so that what it sent before it knew is no mistake."""
    _backlog: deque[str | bytes] | None = None
    """Frames that wait while an earlier one is being handled; None if none is."""
    _is_shutting_down = False
    _ping_at = _pong_by = math.inf
    """Monotonic times, in seconds."""

    def __init__(self, hub: Hub, sid: str) -> None:
        self.hub = hub
        self.sid = sid
        self._schedule_ping()

    # What the rest of the edge calls.

    @property
    def id(self) -> str:
        """Engine.IO id."""
        return self.sid

    def next_ack_id(self) -> int:
        """Return an ack id that was not used on this connection, whoever was signed in."""
        self._last_ack_id += 1
        return self._last_ack_id

    def send_event(self, name: str, data: bytes, ack_id: int | None = None) -> None:
        """Send an event with rendered JSON. With an `ack_id` the client is asked for an ack."""
        if ack_id is None:
            self._post(b'2["%b",%b]' % (name.encode(), data))
        else:
            self._acks_due += 1
            self._post(b'2%d["%b",%b]' % (ack_id, name.encode(), data))

    def send_ack(self, ack_id: int, data: bytes) -> None:
        """Answer the client's event `ack_id` with rendered JSON."""
        self._post(b"3%d[%b]" % (ack_id, data))

    def end(self, reason: DisconnectReason) -> None:
        """End the sign-in or the connection, in the way that the reason implies. Does not wait."""
        if self.closed or self._end_reason is not None:
            return
        if reason.farewell is Farewell.SIGN_OUT:
            self._post(_DISCONNECT)
            self._was_signed_out = True
            self.sign_out(reason)
            return
        self._end_reason = reason
        if self.websocket is not None and reason.farewell is Farewell.COME_BACK:
            self.websocket.go_away()
        elif self.websocket is not None and reason.farewell is Farewell.CUT:
            self.websocket.abort()
        self._close(reason)

    # What the Socket.IO server calls.

    def sign_in(self) -> None:
        """Note that the client was admitted and told so."""
        if not self.closed:
            self.session, self.admitted, self.state = self.admitted, None, State.SIGNED_IN
            self._was_signed_out = False
            if self.websocket is not None:
                self.websocket.trust()

    def sign_out(self, reason: DisconnectReason) -> None:
        """Note that the client has signed out, or is being signed out."""
        session, self.session = self.session, None
        if session is not None:
            self.state, self._acks_due = State.OPEN, 0
            self.hub.signed_out(self, session, reason)
            if self._is_shutting_down:
                self.end(DisconnectReason.SERVER_SHUTDOWN)

    def is_allowed(self, size: int, count: int = 1) -> bool:
        """Meter anything that is not an event. If it is far too much, end the connection and return False."""
        if self.hub.handler.allows(self, size, count):
            return True
        self.end(DisconnectReason.FLOOD)
        return False

    def beat(self, now: float) -> None:
        """Ping the client when it is time; end the connection if the last ping was not answered."""
        if now >= self._pong_by:
            self.end(DisconnectReason.PING_TIMEOUT)
        elif now >= self._ping_at:
            self._ping_at, self._pong_by = math.inf, now + self.hub.heartbeat_timeout_s
            self._send(_PING)

    # What the websocket calls.

    def take(self, data: str | bytes) -> None:
        """Handle a frame at once, or queue it while an earlier one is being handled."""
        if self._backlog is not None:
            self._backlog.append(data)
        elif (work := self._handle(data, size_of(data))) is not None:
            self._backlog = deque()
            self.hub.tasks.start(self._finish(work, self._backlog))

    def allows(self, size: int) -> bool:
        """Meter a control frame or a fragment."""
        return not self.closed and self.is_allowed(size)

    def ended(self, reason: DisconnectReason) -> None:
        """Called when the websocket has ended."""
        self._close(reason)

    def stalled(self) -> None:
        """Called when too much waits for a client that does not read."""
        self.end(DisconnectReason.SLOW_CLIENT)

    def shutting_down(self) -> None:
        """Finish the current frame and those queued behind it, then let the client go."""
        self._is_shutting_down = True
        if self._backlog is None:
            self._let_go()

    # What the endpoint and the Socket.IO server call.

    @property
    def is_leaving(self) -> bool:
        """Whether the client has been told to leave, or is once it is answered."""
        return self._is_shutting_down

    def let_go(self) -> None:
        """Let the client go once nothing is owed to it: the edge shuts down."""
        if self.websocket is not None:
            self.websocket.shutdown()
        else:
            self.shutting_down()

    @property
    def is_polling(self) -> bool:
        """Whether the client uses long polling, and may upgrade to a websocket."""
        return self._polls is not None and self.websocket is None

    def send_packet(self, packet: str) -> None:
        """Send a Socket.IO packet, whatever waits for the client already."""
        if not self.closed:
            self._send(_MESSAGE + packet)

    def open_polling(self) -> str:
        """Begin with long polling; return the open packet."""
        self._polls = Polls()
        return self._open_packet("websocket")

    async def poll(self, size: int, receive: Receive) -> list[str] | None:
        """Wait for packets, for a poll whose body has `size` bytes; None if the poll must be refused.

        Raises ClientGone.
        """
        polls = self._polls
        if polls is None or not self.is_request_allowed(size):
            return None
        if self._is_polled:
            self.end(DisconnectReason.PROTOCOL_ERROR)
            return None
        if self._is_upgrading:
            return [str(frame.NOOP)]
        self._is_polled = True
        try:
            return await polls.take(receive)
        finally:
            self._is_polled = False

    def is_request_allowed(self, size: int) -> bool:
        """Meter a request, of which `size` bytes are in no packet.

        Requests that the client needs for what it was sent are not counted, but these bytes are.
        """
        count = 0 if self.requests_due else 1
        self.requests_due -= 1 - count
        return not (count or size) or self.is_allowed(size, count)

    @contextmanager
    def posting(self) -> Iterator[bool]:
        """Hold while a request with packets is taken; False, and the end, if another one is."""
        is_alone = not self._is_posting
        if not is_alone:
            self.end(DisconnectReason.PROTOCOL_ERROR)
        self._is_posting = True
        try:
            yield is_alone
        finally:
            self._is_posting = not is_alone

    async def take_body(self, packets: Sequence[str | bytes] | None, size: int) -> bool:
        """Take the packets of a request, whose body has `size` bytes; False if they end the connection.

        Each packet is metered separately; the rest of the body is metered here. None stands for a body
        that holds anything but packets.
        """
        sizes = [size_of(data) for data in packets or ()]
        if not self.is_request_allowed(max(0, size - sum(sizes))):
            return False
        if packets is None:
            self.end(DisconnectReason.PROTOCOL_ERROR)
        for data, packet_size in zip(packets or (), sizes, strict=True):
            if (work := self._handle(data, packet_size)) is not None:
                await self._carry_out(work)
        return self._end_reason not in _LOSING

    def last_words(self) -> list[str]:
        """Return the newest packets for a client that was between two polls when its connection ended."""
        polls = self._polls
        if (
            polls is None
            or self.websocket is not None
            or self._is_polled
            or self._end_reason not in _ANNOUNCED
        ):
            return []
        words = polls.take_all()
        while sum(map(len, words)) > _LAST_WORDS_CHARS or len(words) > POLL_ANSWER_PACKETS:
            del words[0]
        # A CLOSE alone says no more than the refusal of the next poll.
        return words if len(words) > 1 else []

    def client_gone(self) -> None:
        """Called when the client has hung up instead of waiting for the answer to a request."""
        # During an upgrade the websocket takes over, and a failed one leaves everything to the next poll.
        if self.is_polling and not self._is_upgrading:
            self.end(DisconnectReason.TRANSPORT_CLOSED)

    async def serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept a websocket; have it serve the client, once a client that polls has upgraded."""
        await send({"type": "websocket.accept"})
        polls = self._polls
        if polls is not None and not await self._is_upgrade(receive, send):
            return
        if self.closed or self.websocket is not None:
            # The connection has ended meanwhile, or another websocket was faster.
            return
        handshake = Handshake.of(scope)
        self.websocket = handshake.websocket
        if self.websocket is None:
            self.end(DisconnectReason.TRANSPORT_CLOSED)
            return
        if polls is None:
            self._send(self._open_packet())
        else:
            for waiting in polls.take_all():
                self._send(waiting)
            # Ends a poll that still waits, if the client upgraded before the first NOOP could end it.
            polls.release()
        handshake.serve_with(self, self.hub.send_bounds)
        if self.session is not None:
            self.websocket.trust()

    # Private.

    async def _is_upgrade(self, receive: Receive, send: Send) -> bool:
        """Carry out the probe of a client that upgrades from long polling; False if it fails."""
        assert self._polls is not None
        self._is_upgrading = True
        try:
            async with asyncio.timeout(self.hub.connect_s):
                if not self._is_expected(await receive(), "2probe"):
                    return False
                await send({"type": "websocket.send", "text": "3probe"})
                self._polls.release()
                return self._is_expected(await receive(), "5")
        except TimeoutError:
            return False
        finally:
            self._is_upgrading = False

    def _is_expected(self, message: Any, expected: str) -> bool:
        """Meter a frame of an upgrade, and compare it."""
        data = message.get("text") or message.get("bytes") or ""
        return self.is_allowed(size_of(data)) and data == expected

    def _open_packet(self, *upgrades: str) -> str:
        terms = OpenPacket(
            sid=self.sid,
            upgrades=upgrades,
            ping_timeout=round(self.hub.heartbeat_timeout_s * 1000),
            ping_interval=round(self.hub.heartbeat_s * 1000),
            max_payload=self.hub.max_payload,
        )
        return f"{frame.OPEN}{msgspec.json.encode(terms).decode()}"

    def _schedule_ping(self) -> None:
        self._ping_at, self._pong_by = time.monotonic() + self.hub.heartbeat_s, math.inf

    def _post(self, message: bytes) -> None:
        """Send a Socket.IO packet; cut the client off if too much waits for it already."""
        if self.closed:
            return
        if self.websocket is not None:
            self.websocket.write(b"4" + message)
        elif self._polls is not None:
            if self.hub.send_bounds.allow(len(self._polls), self._polls.waiting_bytes):
                self._polls.put(_MESSAGE + message.decode(), len(message))
                self.requests_due += _REQUESTS_PER_MESSAGE
            else:
                self.end(DisconnectReason.SLOW_CLIENT)

    def _send(self, packet: str) -> None:
        if self.websocket is not None:
            self.websocket.write(packet.encode())
        elif self._polls is not None:
            self._polls.put(packet)

    def _close(self, reason: DisconnectReason) -> None:
        if not self.closing:
            self.closing = True
            reason = self._end_reason = self._end_reason or reason
            was_signed_in = self.session is not None
            self.sign_out(reason)
            if reason in _ANNOUNCED:
                self._send(_CLOSE)
            self.closed, self.state = True, State.CLOSED
            self.hub.closed(self, reason, was_signed_in=was_signed_in)
        if self.websocket is not None:
            self.websocket.close()
        elif self._polls is not None:
            self._polls.release()

    def _let_go(self) -> None:
        if self.session is None:
            self.end(DisconnectReason.SERVER_SHUTDOWN)
        else:
            self.hub.handler.shutting_down(self)

    def _handle(self, data: str | bytes, size: int) -> Coroutine[Any, Any, None] | None:
        """Handle a packet of `size` bytes; return work that must finish before the next one, if any."""
        if self.closed:
            return None
        try:
            if isinstance(data, bytes):
                self._take_attachment(size)
            elif self._attachments_due and data.startswith(_MESSAGE):
                self._violated(size)
            elif (common := split_message(data)) is not None:
                kind, ack_id, text = common
                if kind == packet.EVENT:
                    return self._take_event(ack_id, text, size)
                self._take_ack(ack_id, size)
            elif data.startswith(_MESSAGE):
                return self._take_packet(data[1:], size)
            else:
                self._take_frame(data, size)
        except Exception:
            log.exception("frame_failed", connection=self.sid)
        return None

    def _take_frame(self, data: str, size: int) -> None:
        """Take an Engine.IO packet that is no message. Those that mean nothing to a server are ignored."""
        if not is_frame(data) or data.startswith(_PING):
            self._violated(size)
        elif self.is_allowed(size):
            if data.startswith(_PONG):
                self._schedule_ping()
            elif data.startswith(_CLOSE):
                self._close(DisconnectReason.CLIENT_DISCONNECT)

    def _take_packet(self, text: str, size: int) -> Coroutine[Any, Any, None] | None:
        """Take a Socket.IO packet; return work that the connection must wait for, if any."""
        read = read_packet(text)
        if read is not None and read.kind == packet.CONNECT:
            return self.hub.connect(self, read.namespace, read.data) if self.is_allowed(size) else None
        if read is None or read.namespace != "/":
            # No client is connected to another namespace.
            self._violated(size)
            return None
        self._attachments_due += read.attachments
        if read.kind == packet.DISCONNECT:
            self._take_disconnect(size)
        elif read.kind in (packet.ACK, packet.BINARY_ACK):
            self._take_ack(read.ack_id, size)
        else:
            return self._take_event(read.ack_id, Binary(read.data) if read.attachments else read.data, size)
        return None

    def _take_disconnect(self, size: int) -> None:
        if self._is_expected_to_send(size) and self.is_allowed(size):
            self.sign_out(DisconnectReason.CLIENT_DISCONNECT)

    def _take_event(self, ack_id: int | None, data: EventData, size: int) -> Coroutine[Any, Any, None] | None:
        """Hand over an event; return work that the connection must wait for, if any."""
        if self.session is not None:
            return self.hub.handler.event(self, ack_id, data, size)
        if self._is_expected_to_send(size):
            self.is_allowed(size)
        return None

    def _take_ack(self, ack_id: int | None, size: int) -> None:
        """Hand over an ack. A small one that the client was asked for is free."""
        if not self._is_expected_to_send(size):
            return
        if self._acks_due and size <= ACK_BYTES:
            self._acks_due -= 1
        elif not self.is_allowed(size):
            return
        if self.session is not None and ack_id is not None:
            self.hub.handler.acked(self, ack_id)

    def _take_attachment(self, size: int) -> None:
        """Ignore the attachment of an event that was refused when it was announced."""
        if not self._attachments_due:
            self._violated(size)
        elif self.is_allowed(size):
            self._attachments_due -= 1

    def _is_expected_to_send(self, size: int) -> bool:
        """Tell whether the client may send anything but CONNECT; otherwise it has broken the protocol."""
        if self.session is not None or self._was_signed_out:
            return True
        self._violated(size)
        return False

    def _violated(self, size: int) -> None:
        """End the connection of a client that has broken the protocol with `size` bytes."""
        if self.is_allowed(size):
            self.end(DisconnectReason.PROTOCOL_ERROR)

    async def _carry_out(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("frame_failed", connection=self.sid)

    async def _finish(self, work: Coroutine[Any, Any, None] | None, backlog: deque[str | bytes]) -> None:
        """Finish the work, then handle the frames that arrived meanwhile."""
        assert self.websocket is not None
        self.websocket.pause_reading()
        while work is not None:
            await self._carry_out(work)
            work = None
            while backlog and work is None:
                data = backlog.popleft()
                work = self._handle(data, size_of(data))
        self._backlog = None
        if self._is_shutting_down:
            self._let_go()
        else:
            self.websocket.resume_reading()
