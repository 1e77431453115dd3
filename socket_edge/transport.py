"""The one module that knows engineio from the inside, and makes python-socketio do what we need.

It keeps payloads as the client's own JSON, hands every event to one callback whatever its name (so
that an event called `connect` is an event like any other), keeps no callback per outgoing message,
and bounds what waits for a client that does not read. engineio has a task, a timer and a queue for
what it reads and writes; here a websocket in its steady state is one loop that reads, and writes go
straight to the network. Long polling, the upgrade and all that is rare stay engineio's.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec
import socketio
import structlog
from engineio import packet as frame
from engineio.async_socket import AsyncSocket
from engineio.exceptions import EngineIOError, SocketIsClosedError
from engineio.payload import Payload
from socketio import packet
from socketio.exceptions import ConnectionRefusedError as Refusal

from infra.wire.errors import ErrorCode
from infra.wire.events import error_event
from socket_edge.errors import EdgeError
from socket_edge.frames import well_formed
from socket_edge.limits.addresses import Addresses, peer
from socket_edge.limits.rate import Rate
from socket_edge.namespace import OneNamespace
from socket_edge.packets import ATTACHMENT, Packet, Unparsed, read_packet
from socket_edge.tasks import Tasks
from socket_edge.websocket import Handshake, SendLimits, WebSocket

log = structlog.get_logger(__name__)

_LIBRARY_LOG = logging.getLogger("socketio")
_CLIENT_ERRORS: Final = (
    *("bad-jsonp-index", "bad-origin", "bad-sid", "bad-transport", "bad-upgrade", "bad-version"),
    *("not-connected", "unexpected-http"),
)
"""Keys under which engineio logs what is wrong with a request."""

_PACKETS: Final = 10_000
"""Packets of one long-polling request."""
_PACKETS_OUT: Final = 16
"""Packets of one answer to it: clients on python-engineio refuse a longer one and lose the connection."""
_ACK: Final = str(packet.ACK)
_TRIES: Final = 10
"""A connection is closed when so many CONNECTs on it were refused: a token may take a signature to check."""


class _Socket(AsyncSocket):  # type: ignore[misc]
    """A connection: long polling as engineio does it, a websocket as one loop that reads and direct writes.

    What is said before the websocket is there waits in engineio's queue.
    """

    transport: "Transport"
    connected: bool
    upgraded: bool
    websocket: WebSocket | None = None
    _environ: dict[str, Any]
    _backlog: deque[str | bytes] | None = None
    """What came while something took its time."""
    _is_retiring = False
    waiting_bytes = 0
    """Long polling: size of what is queued or being written."""
    _ping_at = _pong_by = math.inf
    _why_dropped: str | None = None
    address: bytes | None = None
    """What the address of the client is counted by."""
    refused = 0
    """CONNECTs that were refused."""
    _rest: list[frame.Packet] = []  # noqa: RUF012 - replaced, never changed
    _leaving_bytes = 0

    def post(self, message: bytes) -> None:
        """Send a Socket.IO packet; cut the client off if too much waits for it already."""
        if self.websocket is not None:
            self.websocket.write(b"4" + message)
        elif not self.transport.send_limits.allow(self.queue.qsize(), self.waiting_bytes):
            self.drop()
        else:
            self.waiting_bytes += len(message)
            self.queue.put_nowait(frame.Packet(frame.MESSAGE, message.decode()))

    def drop(self) -> None:
        """Close the connection without a word: the client connects again and resumes."""
        if self._why_dropped is not None:
            return
        self._why_dropped = self.server.reason.TRANSPORT_ERROR
        if self.websocket is not None:
            self.websocket.abort()
        else:
            self.leave()

    def beat(self, now: float) -> bool:
        """Ping the client when it is time; return False if it has not answered the last ping."""
        if now >= self._ping_at:
            self._ping_at, self._pong_by = math.inf, now + self.server.ping_timeout
            self._send(frame.Packet(frame.PING))
        return now < self._pong_by

    def schedule_ping(self) -> None:
        self._ping_at, self._pong_by = time.monotonic() + self.server.ping_interval, math.inf

    async def check_ping_timeout(self) -> bool:
        return not self.closed

    async def receive(self, pkt: frame.Packet) -> None:
        """Take a frame that needs a closer look, or comes by long polling; cut off who sends very many."""
        if self.transport.is_one_too_many(self.sid, pkt):
            self.drop()
        else:
            await super().receive(pkt)

    async def send(self, pkt: frame.Packet) -> None:
        if self.closed:
            raise SocketIsClosedError
        self._send(pkt)

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        # It would wait for a client to poll what is left, which may never happen.
        await super().close(wait=False, abort=abort, reason=self._why_dropped or reason)
        if self.closed:
            # engineio would fail on what it still finds there.
            self.server.sockets.pop(self.sid, None)
        if self.websocket is not None:
            self.websocket.close()
        elif abort:
            self.queue.put_nowait(None)  # ends the poll that waits

    def take(self, data: str | bytes) -> None:
        """Take a frame, at once unless an earlier one still takes its time."""
        if self._backlog is not None:
            self._backlog.append(data)
        elif (work := self._handle(data)) is not None:
            self._backlog = deque()
            self.transport.tasks.start(self._finish(work, self._backlog))

    def leave(self) -> None:
        """Hear that the websocket has ended, or end long polling."""
        self.transport.tasks.start(self._leave())

    def stall(self) -> None:
        """Hear that too much waits for a client that does not read."""
        self.drop()

    def retire(self) -> None:
        """Hear that the server stops. What takes its time, and what has come meanwhile, is done first."""
        self._is_retiring = True
        if self._backlog is None:
            self.transport.retire(self.sid)

    def go_away(self) -> None:
        """Tell the client to come back; one that polls finds out by itself."""
        if self.websocket is not None:
            self.websocket.go_away()

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """Take what a poll has brought. What is no packet is the client's fault, and no error of ours."""
        try:
            await super().handle_post_request(environ)
        except (ValueError, LookupError):
            return
        except EngineIOError:
            # engineio would answer for a connection that it still knows, and fail on one that it does not.
            if not self.closed:
                raise

    async def poll(self) -> list[frame.Packet]:
        """Return what there is to say, in portions, keeping count of how much waits."""
        self.waiting_bytes -= self._leaving_bytes
        self._leaving_bytes = 0
        packets = self._rest or _without_idle_noops(await super().poll())
        self._rest = packets[_PACKETS_OUT:]
        portion = packets[:_PACKETS_OUT]
        self._leaving_bytes = sum(len(p.data) for p in portion if p.packet_type == frame.MESSAGE)
        return portion

    def _send(self, pkt: frame.Packet) -> None:
        if self.websocket is None:
            self.queue.put_nowait(pkt)
        else:
            self.websocket.write(pkt.encode().encode())

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        # python-socketio keeps this for as long as the connection lasts, with every header in it.
        for name in environ.keys() - {"asgi.scope", "asgi.receive", "asgi.send"}:
            del environ[name]
        self._environ = environ
        return await super()._upgrade_websocket(environ)

    async def _websocket_handler(self, ws: Any) -> None:
        environ = self._environ
        del self._environ
        has_polled = self.connected
        if has_polled and (not await self._is_upgrade(ws) or self.upgraded or self.closed):
            # Meanwhile another websocket has been quicker, or the connection has ended.
            return
        handshake = Handshake.of(environ["asgi.scope"])
        self.connected = self.upgraded = True
        self.websocket = handshake.websocket
        assert self.websocket is not None
        self._say_what_waits()
        if has_polled:
            # Ends a poll that still waits, if the client was too quick to let the first one do it.
            self.queue.put_nowait(frame.Packet(frame.NOOP))
        else:
            # It has room for four deques, and is not needed any more.
            del self.queue
        del environ["asgi.receive"], environ["asgi.send"]
        handshake.serve_with(self, self.transport.send_limits)
        if self.transport.knows(self.sid):
            self.websocket.trust()

    async def _is_upgrade(self, ws: Any) -> bool:
        """Shake hands with a client that comes from long polling; False if it does not mean it."""
        self.upgrading = True
        try:
            async with asyncio.timeout(self.transport._connect_s):
                if await ws.wait() != "2probe":
                    return False
                await ws.send("3probe")
                self.queue.put_nowait(frame.Packet(frame.NOOP))  # ends the poll that waits
                return bool(await ws.wait() == "5")
        except OSError:
            return False
        finally:
            self.upgrading = False

    def _say_what_waits(self) -> None:
        for pkt in self._rest:
            self._send(pkt)
        while not self.queue.empty():
            self._send(self.queue.get_nowait())
        self._rest = []

    def _handle(self, data: str | bytes) -> Coroutine[Any, Any, None] | None:
        """Take a frame; return what has to be done before the next one, if anything."""
        if self.closed:
            return None
        if isinstance(data, str):
            try:
                common = read_packet(data)
                if common is not None:
                    return self.transport.take(self.sid, *common)
            except Exception:
                log.exception("frame_failed", eio_sid=self.sid)
                return None
            known = well_formed(data)
            if known is None:
                return self._leave()
            data = known
        return self._receive(data)

    async def _receive(self, data: str | bytes) -> None:
        with suppress(EngineIOError):
            await self.receive(frame.Packet(encoded_packet=data))

    async def _finish(self, work: Coroutine[Any, Any, None] | None, backlog: deque[str | bytes]) -> None:
        """Do what takes its time, and then go on with what has come meanwhile."""
        assert self.websocket is not None
        self.websocket.pause_reading()
        while work is not None:
            try:
                await work
            except Exception:
                log.exception("frame_failed", eio_sid=self.sid)
            work = None
            while backlog and work is None:
                work = self._handle(backlog.popleft())
        self._backlog = None
        if self._is_retiring:
            self.transport.retire(self.sid)
        else:
            self.websocket.resume_reading()

    async def _leave(self) -> None:
        await self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE)


class Handler(Protocol):
    """What the transport calls. None of it may block; only `connect` may raise, and only EdgeError."""

    async def connect(self, sid: str, eio_sid: str, auth: str | None, scope: dict[str, Any]) -> None:
        """Admit a socket. Raises EdgeError to refuse it."""

    def connected(self, sid: str) -> None:
        """Hear that the client has been told that it is connected."""

    def event(self, sid: str, ack_id: int | None, data: object) -> Coroutine[Any, Any, None] | None:
        """Take an event: its JSON text (`["name",payload]`; a Binary if it has attachments) or MALFORMED.

        Returns what has to be done before the next event of the connection is read, if anything.
        """

    def acked(self, sid: str, ack_id: int) -> None:
        """Hear that the client has acked the event that was sent with `ack_id`."""

    def retire(self, sid: str) -> bool:
        """Hear that the server stops. True if the client is owed something; then call `go_away` after it."""

    def disconnected(self, sid: str, reason: str) -> None:
        """Hear that a socket is gone."""


class Transport(socketio.AsyncServer):  # type: ignore[misc]
    """A python-socketio server that speaks to one `Handler`. Times in seconds, sizes in bytes."""

    def __init__(
        self,
        *,
        addresses: Addresses,
        frames: Rate,
        frame_bytes: int,
        send_limits: SendLimits,
        connect_s: float,
        heartbeat_s: float,
        heartbeat_timeout_s: float,
    ) -> None:
        _LIBRARY_LOG.setLevel(logging.WARNING)
        super().__init__(
            async_mode="asgi",
            async_handlers=False,
            client_manager=OneNamespace(),
            # Origins are checked with the token, where a refusal can carry its code.
            cors_allowed_origins="*",
            cors_credentials=False,
            engineio_logger=_LIBRARY_LOG,
            logger=_LIBRARY_LOG,
            max_http_buffer_size=frame_bytes,
            monitor_clients=False,
            ping_interval=heartbeat_s,
            ping_timeout=heartbeat_timeout_s,
            serializer=Packet,
        )
        # Its default of 16 makes engineio drop a whole request of a client that has more to say at once.
        Payload.max_decode_packets = _PACKETS
        # engineio would parse whatever a poll brings as JSON, and hand on what python-socketio cannot take.
        frame.Packet.json = Unparsed
        # What a client does wrong is told to the client; these would be logged as errors, the first time.
        self.eio.log_message_keys = set(_CLIENT_ERRORS)
        self.send_limits = send_limits
        self.tasks = Tasks()
        self._addresses = addresses
        self._frames = frames
        """Of one connection: all but acks, and but the events of a websocket, which the handler counts."""
        self._connect_s = connect_s
        self._beat_s = min(1.0, heartbeat_s / 4, heartbeat_timeout_s / 4)
        self.on("connect", self._admit)
        self.on("disconnect", self._leave)

    def attach_handler(self, handler: Handler) -> None:
        """Name who is called. Must be done before the first client connects."""
        self._handler = handler

    def send_event(self, eio_sid: str, event: str, data: bytes, ack_id: int | None = None) -> None:
        """Send `event` with rendered JSON; the client is asked for an ack if there is an `ack_id`."""
        number = "" if ack_id is None else ack_id
        self._post(eio_sid, b"%b%b]" % (f'2{number}["{event}",'.encode(), data))

    def send_ack(self, eio_sid: str, ack_id: int, data: bytes) -> None:
        """Answer the client's event `ack_id` with rendered JSON."""
        self._post(eio_sid, b"3%d[%b]" % (ack_id, data))

    def drop(self, eio_sid: str) -> None:
        """Close a connection that cannot keep up, without a word: the client connects again and resumes."""
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None:
            socket.drop()

    def retire(self, eio_sid: str) -> None:
        """Let a connection end, once what its client has asked for is answered."""
        sid = self._sid(eio_sid)
        if sid is None or not self._handler.retire(sid):
            self.go_away(eio_sid)

    def go_away(self, eio_sid: str) -> None:
        """Tell a client to come back, as the server stops."""
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None:
            socket.go_away()

    async def beat(self) -> None:
        """Ping every connection in its rhythm, and close those that do not answer; until cancelled."""
        while True:
            await asyncio.sleep(self._beat_s)
            now = time.monotonic()
            for eio_sid, socket in list(self.eio.sockets.items()):
                if socket.closed:
                    self.eio.sockets.pop(eio_sid, None)
                elif not socket.beat(now):
                    self.tasks.start(socket.close(wait=False, abort=True, reason=self.reason.PING_TIMEOUT))

    def take(
        self, eio_sid: str, kind: int, ack_id: int | None, data: object
    ) -> Coroutine[Any, Any, None] | None:
        """Hand over an event or an ack; return what the connection has to wait for, if anything."""
        sid = self._sid(eio_sid)
        if sid is not None and kind == packet.EVENT:
            return self._handler.event(sid, ack_id, data)
        if sid is not None and ack_id is not None:
            self._handler.acked(sid, ack_id)
        return None

    def knows(self, eio_sid: str) -> bool:
        """Tell whether somebody has signed in on the connection."""
        return self._sid(eio_sid) is not None

    def is_one_too_many(self, eio_sid: str, pkt: frame.Packet) -> bool:
        """Tell whether the connection has sent more frames than it may; acks do not count."""
        is_ack = pkt.packet_type == frame.MESSAGE and isinstance(pkt.data, str) and pkt.data.startswith(_ACK)
        return not is_ack and self._frames.take(eio_sid, time.monotonic()) > 0

    def _post(self, eio_sid: str, message: bytes) -> None:
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and not socket.closed:
            socket.post(message)

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
        socket = self.eio.sockets[eio_sid]
        socket.__class__ = _Socket
        socket.transport = self
        await super()._handle_eio_connect(eio_sid, environ)
        socket.address = self._addresses.enter(peer(environ["asgi.scope"]))
        self._expect_sign_in(eio_sid)

    def _expect_sign_in(self, eio_sid: str) -> None:
        """Close the connection if nobody is signed in on it some time from now."""

        def check() -> None:
            socket = self.eio.sockets.get(eio_sid)
            if socket is not None and not self.knows(eio_sid):
                self.tasks.start(socket.close(wait=False, abort=True, reason=self.reason.SERVER_DISCONNECT))

        asyncio.get_running_loop().call_later(self._connect_s, check)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None:
            self._addresses.leave(socket.address)
            if not socket.upgraded:
                # Answers the request that a polling client has left open; engineio would hold it for 45 s.
                socket.queue.put_nowait(frame.Packet(frame.NOOP))
        await super()._handle_eio_disconnect(eio_sid, reason)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        # In one body of a poll it may come behind the end of its connection.
        if eio_sid not in self.environ or self._sid(eio_sid, namespace) is not None:
            return
        await super()._handle_connect(eio_sid, namespace, data)
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        socket = self.eio.sockets.get(eio_sid)
        if sid is None or not self.manager.is_connected(sid, namespace or "/"):
            self._count_refusal(socket)
        elif socket is None or socket.closed:
            # It left while it was being admitted, when python-socketio does not listen for that.
            await self._handle_disconnect(eio_sid, namespace, self.reason.TRANSPORT_CLOSE)
        else:
            if socket.websocket is not None:
                socket.websocket.trust()
            self._handler.connected(sid)

    def _count_refusal(self, socket: _Socket | None) -> None:
        if socket is not None:
            socket.refused += 1
            if socket.refused == _TRIES:
                self.tasks.start(socket.close(wait=False, reason=self.reason.SERVER_DISCONNECT))

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: object) -> None:
        if namespace in {None, "/"} and data is not ATTACHMENT:
            work = self.take(eio_sid, packet.EVENT, id, data)
            if work is not None:
                await work

    async def _handle_ack(self, eio_sid: str, namespace: str | None, id: int | None, data: object) -> None:
        if namespace in {None, "/"}:
            self.take(eio_sid, packet.ACK, id, data)

    def _sid(self, eio_sid: str, namespace: str | None = None) -> str | None:
        sid: str | None = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        return sid if self.manager.is_connected(sid, namespace or "/") else None


def _without_idle_noops(packets: list[frame.Packet]) -> list[frame.Packet]:
    """Leave out NOOPs: they are there to end a poll, which one of them does, or anything else."""
    return [p for p in packets if p.packet_type != frame.NOOP] or packets[:1]


def _refusal(error: EdgeError) -> Refusal:
    """Render an error the way clients get it: as `message` and `data` of `connect_error`."""
    return Refusal(error.message, msgspec.to_builtins(error_event(error.failure())))
