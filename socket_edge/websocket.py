"""A websocket: uvicorn shakes hands, picows reads and writes the frames.

ASGI takes a queue, a wake-up and a task for what comes in, and can only send by awaiting. Behind the
handshake the transport needs none of it: each message goes to a callback, a write never waits, how much
waits for the client is known, and one who does not read is cut off. uvicorn is out of the way by then.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSProtocolError,
    WSTransport,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

_EXTENSION: Final = "bbgram.handshake"
_BUFFER: Final = 2_048
"""Bytes that a connection keeps for reading, the least that picows takes; grows with what comes."""
_UNREAD: Final = 65_536
"""Bytes that may wait for a client that sends pings, or is told goodbye."""
STRANGER_BYTES: Final = 131_072
"""All that is read of a client that has not signed in yet, or in one request: some tries with a token."""
_GOODBYE_S: Final = 10.0
"""How long the client may take to answer a goodbye."""

_NOBODY: Final = asyncio.Protocol()

_log = logging.LoggerAdapter(logging.getLogger("picows.server"))
_handshake_log = logging.getLogger("websockets.server")
# What a client does wrong is told to the client.
_log.logger.setLevel(logging.CRITICAL)
_handshake_log.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class SendLimits:
    """How much may wait for a client that does not read."""

    packets: int
    size: int
    """Bytes."""

    def allow(self, packets: int, size: int) -> bool:
        """Tell whether one more packet may wait."""
        return packets < self.packets and size < self.size


class Reader(Protocol):
    """Who reads a websocket. Must not raise."""

    def take(self, data: str | bytes) -> None:
        """Take a message."""

    def leave(self) -> None:
        """Hear, once, that the connection ends."""

    def stall(self) -> None:
        """Hear that the client does not read, and too much waits for it."""

    def retire(self) -> None:
        """Hear that the server stops: call `WebSocket.go_away` as soon as nothing is owed to the client."""


class WebSocket(WSListener):
    """An accepted connection, read by one `Reader` after the other."""

    __slots__ = (
        *("_connections", "_frames", "_goodbye", "_is_text", "_left", "_out", "_part", "_reader", "_size"),
        "_ws",
    )

    def __init__(self, reader: Reader, out: "_Outgoing", connections: set[Any], size: int) -> None:
        self._reader = reader
        self._out = out
        self._connections = connections
        self._size = size
        """The largest message to take, in bytes."""
        self._part: bytearray | None = None
        """What has come of a message in several frames, and whether it is text."""
        self._is_text = False
        self._goodbye: asyncio.TimerHandle | None = None
        self._left = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Be known to uvicorn, which closes what is open when it stops."""
        self._ws = transport
        self._connections.add(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Hand over what makes a message."""
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "no extension was agreed on")
        if kind == WSMsgType.TEXT and frame.fin and self._part is None:
            if not transport.is_close_frame_sent:
                self._reader.take(_text(frame.get_payload_as_bytes()))
        elif kind == WSMsgType.CLOSE:
            self._take_leave(frame)
        elif transport.is_close_frame_sent:
            return
        elif kind == WSMsgType.PING:
            self._answer(frame)
        elif kind != WSMsgType.PONG:
            self._take_part(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Forget the connection."""
        if self._goodbye is not None:
            self._goodbye.cancel()
        self._connections.discard(self)
        self._leave()

    def pause_writing(self) -> None:
        """Do nothing: who writes asks how much waits."""

    def resume_writing(self) -> None:
        """Do nothing."""

    def hand_over(self, reader: Reader, limits: SendLimits) -> None:
        """Have `reader` read from now on; `limits` hold for what waits for the client."""
        self._reader = reader
        self._out.limit(limits, reader.stall)

    def read_with(self, frames: WSProtocol) -> None:
        """Have picows read, but not much, until the client is trusted."""
        self._frames = frames
        self._out.transport.set_protocol(_Stranger(frames, self._out.transport))

    def trust(self) -> None:
        """Read as much as the client sends."""
        if not self._out.transport.is_closing():
            self._out.transport.set_protocol(self._frames)

    def pause_reading(self) -> None:
        """Take no more than what has arrived."""
        if not self._out.transport.is_closing():
            self._out.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take more."""
        if not self._out.transport.is_closing():
            self._out.transport.resume_reading()

    def write(self, text: bytes) -> None:
        """Send a text message; to a connection that is closing, nothing."""
        self._ws.send(WSMsgType.TEXT, text)

    def abort(self) -> None:
        """Cut the connection off, with everything that waits."""
        self._out.transport.abort()

    def close(self) -> None:
        """Say goodbye if the client reads, otherwise cut it off. Does not wait for an answer."""
        if self._out.transport.get_write_buffer_size() > _UNREAD:
            self.abort()
        elif not self._ws.is_close_frame_sent and not self._out.transport.is_closing():
            self._ws.send_close(WSCloseCode.OK)
            self._goodbye = asyncio.get_running_loop().call_later(_GOODBYE_S, self.abort)

    def shutdown(self) -> None:
        """Take nothing new, as uvicorn stops and waits for the connection to end."""
        self.pause_reading()
        self._reader.retire()

    def go_away(self) -> None:
        """Tell the client to come back."""
        if not self._out.transport.is_closing():
            self._ws.send_close(WSCloseCode.SERVICE_RESTART)
            # To close over what nobody has read would reset the connection, and with it what was just sent.
            self.resume_reading()
            self._goodbye = asyncio.get_running_loop().call_later(_GOODBYE_S, self.abort)
        self._leave()

    def _take_part(self, frame: WSFrame) -> None:
        if (frame.msg_type == WSMsgType.CONTINUATION) is (self._part is None):
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a part of no message")
        if self._part is None:
            self._part, self._is_text = bytearray(), frame.msg_type == WSMsgType.TEXT
        self._part += frame.get_payload_as_bytes()
        if len(self._part) > self._size:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "the message is too large")
        if frame.fin:
            data, self._part = bytes(self._part), None
            self._reader.take(_text(data) if self._is_text else data)

    def _answer(self, ping: WSFrame) -> None:
        if self._out.transport.get_write_buffer_size() > _UNREAD:
            self.abort()
        else:
            self._ws.send_pong(ping.get_payload_as_bytes())

    def _take_leave(self, frame: WSFrame) -> None:
        if not self._ws.is_close_frame_sent:
            self._ws.send_close(frame.get_close_code() or WSCloseCode.OK)
        self._ws.disconnect()
        self._leave()

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            self._reader.leave()


class Handshake(WebSocketsSansIOProtocol):
    """What comes before: uvicorn makes one for each request, `uvicorn.Config(ws=Handshake)`."""

    websocket: WebSocket | None = None
    """Set when the application has accepted it."""
    _early = b""
    _served = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn.logger = _handshake_log

    @classmethod
    def of(cls, scope: dict[str, Any]) -> "Handshake":
        """Return what an ASGI scope belongs to. Raises KeyError under another server."""
        handshake: Handshake = scope["extensions"][_EXTENSION]
        return handshake

    def serve_with(self, reader: Reader, limits: SendLimits) -> None:
        """Have `reader` serve the connection for good; the application may return."""
        assert self.websocket is not None
        self._served = True
        # The scope is kept as long as the connection lasts; this is not needed any more.
        del self.scope["extensions"][_EXTENSION]
        self.websocket.hand_over(reader, limits)
        while not self.queue.empty():
            event = self.queue.get_nowait()
            if event["type"] == "websocket.receive":
                reader.take(event.get("text") or event.get("bytes") or "")
            else:
                reader.leave()
        self.websocket.resume_reading()

    def handle_connect(self, event: Request) -> None:
        """Start the application, and let it know this object."""
        try:
            super().handle_connect(event)
        except UnicodeEncodeError:
            return  # The refusal quotes what the client has sent; it goes without one.
        if self.response.status_code == 101:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[_EXTENSION] = self

    def data_received(self, data: bytes) -> None:
        """Read the request. What the client sends before it was accepted waits."""
        if self.handshake_initiated:
            self._early += data
            self.transport.pause_reading()
        else:
            super().data_received(data)
            if self.conn.handshake_exc is not None:
                # uvicorn would wait for ever: for the rest of a request that cannot be read.
                self.transport.close()

    async def run_asgi(self) -> None:
        """Run the application."""
        try:
            with suppress(ClientDisconnected):
                await self.app(self.scope, self.receive, self.send)
        except Exception:
            self.logger.exception("The application failed.")
            self.send_500_response()
        finally:
            if not self._served:
                self.transport.close()

    async def send(self, message: Any) -> None:
        """Do what the application says."""
        if message["type"] == "websocket.accept":
            self._accept()
        elif self.websocket is None:
            await super().send(message)
        elif message["type"] == "websocket.send":
            self.websocket.write(message.get("bytes") or message["text"].encode())
        else:
            self.websocket.close()

    def take(self, data: str | bytes) -> None:
        """Keep what the client says for the application."""
        if isinstance(data, str):
            self.queue.put_nowait({"type": "websocket.receive", "text": data})
        else:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        self.read_paused = True
        self.transport.pause_reading()

    def leave(self) -> None:
        """Tell the application that the connection ends."""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1005})

    def stall(self) -> None:
        """Cut off a client that does not even read its first words."""
        self.transport.abort()

    def retire(self) -> None:
        """Send a client away that has not been served yet."""
        if self.websocket is not None:
            self.websocket.go_away()

    def _accept(self) -> None:
        if self.transport.is_closing():
            return
        self.handshake_complete = True
        self.connections.discard(self)
        out = _Outgoing(self.transport)
        self.websocket = WebSocket(self, out, self.connections, self.config.ws_max_size)
        frames = WSProtocol(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=lambda _: self.websocket,
            logger=_log,
            disconnect_on_exception=False,
            websocket_handshake_timeout=None,
            enable_auto_ping=False,
            auto_ping_idle_timeout=0,
            auto_ping_reply_timeout=0,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,
            max_frame_size=self.config.ws_max_size,
            extra_headers=None,
            read_buffer_init_size=_BUFFER,
        )
        frames.connection_made(out)
        # uvloop keeps what it called last for data, and with it a Handshake; picows has no such method.
        self.transport.set_protocol(_NOBODY)
        self.websocket.read_with(frames)
        _feed(frames, _request(self.request.headers["Sec-WebSocket-Key"]) + self._early)
        self.transport.resume_reading()


class _Stranger(asyncio.BufferedProtocol):
    """Stands before picows until the client has signed in: cuts off who sends more than that takes."""

    __slots__ = ("_frames", "_left", "_transport")

    def __init__(self, frames: WSProtocol, transport: asyncio.Transport) -> None:
        self._frames = frames
        self._transport = transport
        self._left = STRANGER_BYTES

    def get_buffer(self, sizehint: int) -> Any:
        return self._frames.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        self._left -= nbytes
        if self._left < 0:
            self._transport.abort()
        else:
            self._frames.buffer_updated(nbytes)

    def eof_received(self) -> bool | None:
        stays_open: bool | None = self._frames.eof_received()
        return stays_open

    def connection_lost(self, exc: Exception | None) -> None:
        self._frames.connection_lost(exc)


class _Outgoing:
    """What picows writes to: what is written in one turn of the loop leaves together, within limits.

    A call into the kernel costs more than a frame.
    """

    __slots__ = ("_limits", "_loop", "_stall", "_unsent", "_waiting", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._loop = asyncio.get_running_loop()
        self._unsent: list[bytes] = []
        self._waiting = 0
        """Frames, more or less, since the network last took everything."""
        self._limits: SendLimits | None = None
        self._stall: Callable[[], None] = transport.abort

    def limit(self, limits: SendLimits, stall: Callable[[], None]) -> None:
        self._limits, self._stall = limits, stall

    def get_extra_info(self, name: str) -> Any:
        return self.transport.get_extra_info(name)

    def get_write_buffer_size(self) -> int:
        return 1  # where nothing waits picows writes past this object

    def write(self, data: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent.append(data)

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self.transport.is_closing():
            return
        size = self.transport.get_write_buffer_size()
        self._waiting = self._waiting + len(unsent) if size else 0
        if self._limits is None or self._limits.allow(self._waiting, size):
            self.transport.write(b"".join(unsent))
        else:
            self._stall()

    def close(self) -> None:
        self.flush()
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()


def _request(key: str) -> bytes:
    """Return the least that picows takes for a request, of which uvicorn has looked at all the rest."""
    return (
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


def _feed(frames: WSProtocol, data: bytes) -> None:
    while data:
        buffer = frames.get_buffer(-1)
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        frames.buffer_updated(size)
        data = data[size:]


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WSProtocolError(WSCloseCode.INVALID_TEXT, "the text is not UTF-8") from error
