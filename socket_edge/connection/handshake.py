"""A websocket handshake: uvicorn reads the request, this checks it, and picows takes over the connection.

uvicorn's own protocols for websockets have another library parse the request a second time, in Python.
"""

import asyncio
import binascii
import logging
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from hashlib import sha1
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

from picows import WSAutoPingStrategy, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from uvicorn.protocols.utils import ClientDisconnected

from socket_edge.connection.api import DisconnectReason
from socket_edge.connection.bounds import SendBounds
from socket_edge.connection.outgoing import Outgoing
from socket_edge.connection.websocket import Reader, WebSocket
from socket_edge.tasks import start_now

_EXTENSION: Final = "bbgram.handshake"
_BUFFER: Final = 2_048
"""Initial size of a connection's read buffer in bytes: the least that picows takes. It grows as needed."""
_KEY_BYTES: Final = 16
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3

_REQUEST: Final = b"\r\n".join(
    (
        b"GET / HTTP/1.1",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        b"\r\n",
    )
)
"""The smallest request that picows accepts. The client's own has been checked by then."""
_ACCEPTED: Final = b"\r\n".join(
    (
        b"HTTP/1.1 101 Switching Protocols",
        b"Connection: upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Accept: %b",
        b"\r\n",
    )
)
_REFUSED: Final = b"HTTP/1.1 %d %b\r\n%bConnection: close\r\n\r\n%b"

_NO_PROTOCOL: Final = asyncio.Protocol()

_frames_log = logging.LoggerAdapter(logging.getLogger("picows.server"))
_uvicorn_log = logging.getLogger("uvicorn.error")
# Clients' mistakes are reported to the clients, not logged.
_frames_log.logger.setLevel(logging.CRITICAL)


class Handshake(asyncio.Protocol):
    """uvicorn has one made for each websocket request: `uvicorn.Config(ws=Handshake)`.

    Until `serve_with` is called, the ASGI application reads and writes the websocket as usual.
    """

    websocket: WebSocket | None = None
    """Set once the application has accepted it."""
    _end_reason = DisconnectReason.TRANSPORT_CLOSED
    """Why the websocket has ended, if it has."""
    _early = b""
    _is_served = _is_answered = False
    _key = b""
    _start: MutableMapping[str, Any]
    """The head of the application's refusal."""
    _arrived: asyncio.Future[None] | None = None
    """Done when the application, which waits for a message, has one."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any]) -> None:
        self._config = config
        self._connections: set[Any] = server_state.connections
        self._tasks: set[asyncio.Task[None]] = server_state.tasks
        self._app_state = app_state
        self._messages: deque[dict[str, Any]] = deque()

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> "Handshake":
        """Return the handshake of an ASGI scope. Raises KeyError under another server."""
        handshake: Handshake = scope["extensions"][_EXTENSION]
        return handshake

    def begin(self, transport: asyncio.Transport, scope: MutableMapping[str, Any], url: bytes) -> None:
        """Check the head of a request, and start the application. It runs at once until it first waits."""
        self.transport = transport
        key = _key_of(scope)
        if key is None or not url.isascii():
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        self._key = key
        raw_path, _, query_string = url.partition(b"?")
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
        scope["path"] = scope["root_path"] + unquote(raw_path.decode())
        scope["raw_path"] = scope["root_path"].encode() + raw_path
        scope["query_string"] = query_string
        scope["subprotocols"] = []
        scope["extensions"] = {"websocket.http.response": {}, _EXTENSION: self}
        self.scope = scope
        self._connections.add(self)
        self._messages.append({"type": "websocket.connect"})
        task = start_now(self.run_asgi())
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            if self.websocket is None:
                transport.set_protocol(self)

    def serve_with(self, reader: Reader, bounds: SendBounds) -> None:
        """Have `reader` serve the connection until its end. The application may return."""
        assert self.websocket is not None
        self._is_served = True
        # The scope lives as long as the connection.
        del self.scope["extensions"][_EXTENSION]
        self.websocket.hand_over(reader, bounds)
        while self._messages:
            message = self._messages.popleft()
            if message["type"] == "websocket.receive":
                reader.take(message.get("text") or message.get("bytes") or "")
            else:
                reader.ended(self._end_reason)
        self.websocket.resume_reading()

    # What the transport calls as long as the request waits to be accepted.

    def data_received(self, data: bytes) -> None:
        """Keep what is sent before the request is accepted."""
        self._early += data
        self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that the client has left."""
        self._connections.discard(self)
        self._put({"type": "websocket.disconnect", "code": 1006})

    def shutdown(self) -> None:
        """Called by uvicorn when it stops."""
        self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)

    # What the application calls.

    async def run_asgi(self) -> None:
        """Run the application."""
        try:
            with suppress(ClientDisconnected):
                await self._config.loaded_app(self.scope, self.receive, self.send)
        except Exception:
            _uvicorn_log.exception("The application failed.")
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
        finally:
            if self.websocket is None:
                self._connections.discard(self)
            if not self._is_served:
                self.transport.close()

    async def receive(self) -> dict[str, Any]:
        """Return the next message for the application."""
        while not self._messages:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        message = self._messages.popleft()
        if self.websocket is not None and not self._messages:
            self.websocket.resume_reading()
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Carry out a message from the application."""
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept()
        elif kind == "websocket.http.response.start":
            self._start = message
        elif kind == "websocket.http.response.body":
            self._refuse(self._start["status"], self._start.get("headers", ()), message.get("body", b""))
        elif self.websocket is None and kind == "websocket.close":
            self._refuse(HTTPStatus.FORBIDDEN)
        elif self.websocket is None:
            raise ClientDisconnected
        elif kind == "websocket.send":
            self.websocket.write(message.get("bytes") or message["text"].encode())
        else:
            self.websocket.close()

    # What the accepted websocket calls until it is served.

    def take(self, data: str | bytes) -> None:
        """Queue a message for the application."""
        self.transport.pause_reading()
        self._put({"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data})

    def allows(self, size: int) -> bool:
        """Allow everything: at this stage, `STRANGER_BYTES` limits what is read."""
        return True

    def ended(self, reason: DisconnectReason) -> None:
        """Tell the application that the websocket has ended."""
        self._end_reason = reason
        self._put({"type": "websocket.disconnect", "code": 1005})

    def stalled(self) -> None:
        """Cut the client off."""
        if self.websocket is not None:
            self.websocket.cut_off(DisconnectReason.SLOW_CLIENT)

    def shutting_down(self) -> None:
        """Send the client away: it has not been served yet."""
        if self.websocket is not None:
            self.websocket.go_away()

    # Private.

    def _put(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def _refuse(
        self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes | None = None
    ) -> None:
        """Answer with a status instead of a websocket, and close; does nothing once it is answered."""
        if self._is_answered:
            return
        self._is_answered = True
        reason = HTTPStatus(status).phrase.encode()
        if body is None:
            body = reason + b"\n"
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(_REFUSED % (status, reason, lines, body))
        self.transport.close()

    def _accept(self) -> None:
        if self.transport.is_closing() or self._is_answered:
            return
        self._is_answered = True
        self._connections.discard(self)
        out = Outgoing(self.transport)
        websocket = self.websocket = WebSocket(self, out, self._connections, self._config.ws_max_size)
        accepted = WSUpgradeResponseWithListener(_Accepted(self._key), websocket)  # type: ignore[arg-type]
        frames = WSProtocol(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=lambda _: accepted,
            logger=_frames_log,
            disconnect_on_exception=False,
            websocket_handshake_timeout=None,
            enable_auto_ping=False,
            auto_ping_idle_timeout=0,
            auto_ping_reply_timeout=0,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,
            max_frame_size=self._config.ws_max_size,
            extra_headers=None,
            read_buffer_init_size=_BUFFER,
        )
        frames.connection_made(out)
        # uvloop caches the protocol's `data_received`, and with it that object; picows has no such method.
        self.transport.set_protocol(_NO_PROTOCOL)
        websocket.read_with(frames)
        _feed(frames, _REQUEST + self._early)
        # picows keeps the request, whose headers take a kilobyte.
        frames.transport.request.headers = None
        self.transport.resume_reading()


class _Accepted:
    """picows's `WSUpgradeResponse` that accepts a request, without the time that it takes to make one."""

    __slots__ = ("_key",)

    status: Final = HTTPStatus.SWITCHING_PROTOCOLS

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def headers(self) -> dict[str, str]:
        """Return what picows may write to, and nobody reads."""
        return {}

    def to_bytes(self) -> bytearray:
        """Return the response."""
        return bytearray(_ACCEPTED % b64encode(sha1(self._key + _GUID, usedforsecurity=False).digest()))


def _key_of(scope: MutableMapping[str, Any]) -> bytes | None:
    """Return the key of a websocket request (RFC 6455, section 4.2.1); None if there is anything wrong."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _ONCE:
            if name in found:
                return None
            found[name] = value
    key = found.get(b"sec-websocket-key", b"")
    try:
        is_key = len(b64decode(key, validate=True)) == _KEY_BYTES
    except binascii.Error:
        is_key = False
    is_sound = is_key and found.get(b"sec-websocket-version") == b"13" and scope["method"] == "GET"
    return key if is_sound and scope["http_version"] == "1.1" else None


_ONCE: Final = frozenset((b"upgrade", b"origin", b"sec-websocket-key", b"sec-websocket-version"))
"""Headers that a request may have once."""


def _feed(frames: WSProtocol, data: bytes) -> None:
    while data:
        buffer = frames.get_buffer(-1)
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        frames.buffer_updated(size)
        data = data[size:]
