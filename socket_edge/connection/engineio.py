"""A client on Engine.IO: the `api.Connection`, over long polling or a websocket.

engineio gives each websocket a task, a timer and a queue for what it reads and writes. Here a websocket
calls back with each frame, a write never waits, and one heartbeat serves all connections. Long polling,
upgrades and everything rare are left to engineio.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol

import structlog
from engineio import AsyncServer
from engineio import packet as frame
from engineio.exceptions import EngineIOError, SocketIsClosedError
from socketio import packet

from socket_edge.connection.api import DisconnectReason, EventData, Farewell, Handler, State
from socket_edge.connection.bounds import ACK_BYTES, SendBounds
from socket_edge.connection.handshake import Handshake
from socket_edge.connection.packets import (
    body_bytes,
    packet_bytes,
    read_packet,
    read_packets,
    size_of,
    well_formed,
)
from socket_edge.connection.polling import PollingSocket
from socket_edge.connection.websocket import WebSocket
from socket_edge.tasks import Tasks

log = structlog.get_logger(__name__)

_DISCONNECT: Final = str(packet.DISCONNECT).encode()

_REASONS: Final = {
    AsyncServer.reason.CLIENT_DISCONNECT: DisconnectReason.CLIENT_DISCONNECT,
    AsyncServer.reason.TRANSPORT_CLOSE: DisconnectReason.TRANSPORT_CLOSED,
}
"""Our reasons for the connections that engineio closes by itself, by engineio's names."""


class Hub(Protocol):
    """What all connections share."""

    handler: Handler
    send_bounds: SendBounds
    connect_s: float
    """How long an upgrade may take, in seconds."""
    tasks: Tasks

    def signed_out(self, connection: Any, session: object, reason: DisconnectReason) -> None:
        """Called when the client that was signed in has left."""

    def closed(self, connection: Any, reason: DisconnectReason, *, was_signed_in: bool) -> None:
        """Called once, when a connection has ended, and after `signed_out` if somebody was signed in."""


class EngineConnection(PollingSocket):
    """The `api.Connection`. Made by engineio as an AsyncSocket, whose class is then replaced by this one."""

    hub: Hub
    socket_id = ""
    state = State.OPEN
    session: Any = None
    admitted: Any = None
    """The session of a client that was admitted, and is about to be told so."""
    websocket: WebSocket | None = None
    origin = host = ""
    address: bytes | None = None
    """Key under which the client's address is counted."""
    packet_bytes = 0
    """Size of the packet that python-socketio is being given, as the client sent it."""
    _last_ack_id = 0
    refused_sign_ins = 0
    sign_in_by = math.inf
    """Monotonic time in seconds at which the connection ends, unless somebody is signed in."""

    _end_reason: DisconnectReason | None = None
    _acks_due = 0
    """Acks that the client was asked for and has not sent yet."""
    _backlog: deque[str | bytes] | None = None
    """Frames that wait while an earlier one is being handled; None if none is."""
    _is_shutting_down = False
    _ping_at = _pong_by = math.inf
    """Monotonic times, in seconds."""

    # What the rest of the edge calls.

    @property
    def id(self) -> str:
        """Engine.IO id."""
        sid: str = self.sid
        return sid

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

    def sign_out(self, reason: DisconnectReason) -> None:
        """Note that the client has signed out, or is being signed out."""
        session, self.session = self.session, None
        if session is not None:
            self.state, self._acks_due = State.OPEN, 0
            self.hub.signed_out(self, session, reason)
            if self._is_shutting_down:
                self.end(DisconnectReason.SERVER_SHUTDOWN)

    def take_event(self, ack_id: int | None, data: EventData, size: int) -> Coroutine[Any, Any, None] | None:
        """Hand over an event of `size` bytes; return work that the connection must wait for, if any."""
        if self.session is not None:
            return self.hub.handler.event(self, ack_id, data, size)
        self.is_allowed(size)
        return None

    def take_ack(self, ack_id: int | None, size: int) -> None:
        """Hand over an ack of `size` bytes. A small one that the client was asked for is free."""
        if self._acks_due and size <= ACK_BYTES:
            self._acks_due -= 1
        elif not self.is_allowed(size):
            return
        if self.session is not None and ack_id is not None:
            self.hub.handler.acked(self, ack_id)

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
            self._ping_at, self._pong_by = math.inf, now + self.server.ping_timeout
            self._send(frame.Packet(frame.PING))

    # What the websocket calls.

    def take(self, data: str | bytes) -> None:
        """Handle a frame at once, or queue it while an earlier one is being handled."""
        if self._backlog is not None:
            self._backlog.append(data)
        elif (work := self._handle(data)) is not None:
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

    # What engineio calls.

    def schedule_ping(self) -> None:
        """Schedule the next ping, which `beat` sends; engineio would start a task."""
        self._ping_at, self._pong_by = time.monotonic() + self.server.ping_interval, math.inf

    async def check_ping_timeout(self) -> bool:
        """Return whether the connection is open. `beat` checks the time-out."""
        return not self.closed

    async def send(self, pkt: frame.Packet) -> None:
        """Send a packet."""
        if self.closed:
            raise SocketIsClosedError
        self._send(pkt)

    async def receive(self, pkt: frame.Packet) -> None:
        """Take a packet of a poll."""
        await self._take_packet(pkt, packet_bytes(pkt))

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Called when engineio closes the connection."""
        self._close(_REASONS.get(reason, DisconnectReason.TRANSPORT_ERROR))

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:
        """Answer a poll, or begin a websocket."""
        if not self._is_request_allowed(body_bytes(environ)):
            raise SocketIsClosedError
        return await super().handle_get_request(environ)

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """Take the packets of a poll. Each is metered separately; the rest of the body is metered here."""
        packets = await read_packets(environ)
        rest = body_bytes(environ) - sum(map(packet_bytes, packets))
        if self._is_request_allowed(max(0, rest)):
            await self.take_all(packets)

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        # python-socketio keeps the environment, with every header in it, as long as the connection lasts.
        for name in environ.keys() - {"asgi.scope", "asgi.receive", "asgi.send"}:
            del environ[name]
        self._environ = environ
        return await super()._upgrade_websocket(environ)

    async def _websocket_handler(self, ws: Any) -> None:
        environ = self._environ
        del self._environ
        has_polled = self.connected
        if has_polled and (not await self._is_upgrade(ws) or self.upgraded or self.closed):
            # Another websocket was faster, or the connection has ended meanwhile.
            return
        handshake = Handshake.of(environ["asgi.scope"])
        if handshake.websocket is None:
            # The client had gone before it could be accepted.
            self._close(DisconnectReason.TRANSPORT_CLOSED)
            return
        self.connected = self.upgraded = True
        self.websocket = handshake.websocket
        for pkt in self.take_waiting():
            self._send(pkt)
        if has_polled:
            # Ends a poll that still waits, if the client upgraded before the first NOOP could end it.
            self.queue.put_nowait(frame.Packet(frame.NOOP))
        else:
            # No longer needed, and it holds four deques.
            del self.queue
        del environ["asgi.receive"], environ["asgi.send"]
        handshake.serve_with(self, self.hub.send_bounds)
        if self.session is not None:
            self.websocket.trust()

    async def _is_upgrade(self, ws: Any) -> bool:
        """Carry out the probe of a client that upgrades from long polling; False if it fails."""
        self.upgrading = True
        try:
            async with asyncio.timeout(self.hub.connect_s):
                if not self._is_expected(await ws.wait(), "2probe"):
                    return False
                await ws.send("3probe")
                self.queue.put_nowait(frame.Packet(frame.NOOP))  # ends the poll that waits
                return self._is_expected(await ws.wait(), "5")
        except OSError:
            return False
        finally:
            self.upgrading = False

    # Private.

    def _is_request_allowed(self, size: int) -> bool:
        """Meter a request, of which `size` bytes are in no packet.

        Requests that the client needs for what it was sent are not counted, but these bytes are.
        """
        count = 0 if self.requests_due else 1
        self.requests_due -= 1 - count
        return not (count or size) or self.is_allowed(size, count)

    def _is_expected(self, data: str | bytes, expected: str) -> bool:
        """Meter a frame of an upgrade, and compare it."""
        return self.is_allowed(size_of(data)) and data == expected

    async def _take_packet(self, pkt: frame.Packet, size: int) -> None:
        """Take a packet for which the client sent `size` bytes."""
        if self.closed:
            return
        self.packet_bytes = size
        if pkt.packet_type == frame.MESSAGE or self.is_allowed(size):
            await super().receive(pkt)

    def _post(self, message: bytes) -> None:
        """Send a Socket.IO packet; cut the client off if too much waits for it already."""
        if self.closed:
            return
        if self.websocket is not None:
            self.websocket.write(b"4" + message)
        elif self.hub.send_bounds.allow(self.waiting_packets, self.waiting_bytes):
            self.put(message)
        else:
            self.end(DisconnectReason.SLOW_CLIENT)

    def _send(self, pkt: frame.Packet) -> None:
        if self.websocket is None:
            self.queue.put_nowait(pkt)
        else:
            self.websocket.write(pkt.encode().encode())

    def _close(self, reason: DisconnectReason) -> None:
        if not self.closing:
            self.closing = True
            reason = self._end_reason or reason
            was_signed_in = self.session is not None
            self.sign_out(reason)
            if reason is DisconnectReason.SIGN_IN_REFUSED:
                self._send(frame.Packet(frame.CLOSE))
            self.closed, self.state = True, State.CLOSED
            self.hub.closed(self, reason, was_signed_in=was_signed_in)
        if self.websocket is not None:
            self.websocket.close()
        else:
            # Answers a waiting poll, which engineio would hold until the ping times out.
            self.queue.put_nowait(frame.Packet(frame.NOOP))
            self.queue.put_nowait(None)

    def _let_go(self) -> None:
        if self.session is None:
            self.end(DisconnectReason.SERVER_SHUTDOWN)
        else:
            self.hub.handler.shutting_down(self)

    def _handle(self, data: str | bytes) -> Coroutine[Any, Any, None] | None:
        """Handle a frame; return work that must finish before the next one, if any."""
        if self.closed:
            return None
        size = size_of(data)
        if isinstance(data, str):
            try:
                common = read_packet(data)
                if common is not None:
                    kind, ack_id, text = common
                    if kind == packet.EVENT:
                        return self.take_event(ack_id, text, size)
                    self.take_ack(ack_id, size)
                    return None
            except Exception:
                log.exception("frame_failed", connection=self.sid)
                return None
            known = well_formed(data)
            if known is None:
                if self.is_allowed(size):
                    self.end(DisconnectReason.PROTOCOL_ERROR)
                return None
            data = known
        return self._receive(data, size)

    async def _receive(self, data: str | bytes, size: int) -> None:
        with suppress(EngineIOError):
            await self._take_packet(frame.Packet(encoded_packet=data), size)

    async def _finish(self, work: Coroutine[Any, Any, None] | None, backlog: deque[str | bytes]) -> None:
        """Finish the work, then handle the frames that arrived meanwhile."""
        assert self.websocket is not None
        self.websocket.pause_reading()
        while work is not None:
            try:
                await work
            except Exception:
                log.exception("frame_failed", connection=self.sid)
            work = None
            while backlog and work is None:
                work = self._handle(backlog.popleft())
        self._backlog = None
        if self._is_shutting_down:
            self._let_go()
        else:
            self.websocket.resume_reading()
