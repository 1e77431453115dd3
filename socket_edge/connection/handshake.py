"""A websocket handshake: uvicorn answers the request, then makes way for picows."""

import asyncio
import logging
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final

from picows import WSAutoPingStrategy
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from socket_edge.connection.api import DisconnectReason
from socket_edge.connection.bounds import SendBounds
from socket_edge.connection.outgoing import Outgoing
from socket_edge.connection.websocket import Reader, WebSocket

_EXTENSION: Final = "bbgram.handshake"
_BUFFER: Final = 2_048
"""Initial size of a connection's read buffer in bytes: the least that picows takes. It grows as needed."""

_NO_PROTOCOL: Final = asyncio.Protocol()

_frames_log = logging.LoggerAdapter(logging.getLogger("picows.server"))
_handshake_log = logging.getLogger("websockets.server")
# Clients' mistakes are reported to the clients, not logged.
_frames_log.logger.setLevel(logging.CRITICAL)
_handshake_log.setLevel(logging.CRITICAL)


class Handshake(WebSocketsSansIOProtocol):
    """uvicorn makes one for each websocket request: `uvicorn.Config(ws=Handshake)`.

    Until `serve_with` is called, the ASGI application reads and writes the websocket as usual.
    """

    websocket: WebSocket | None = None
    """Set once the application has accepted it."""
    _end_reason = DisconnectReason.TRANSPORT_CLOSED
    """Why the websocket has ended, if it has."""
    _early = b""
    _is_served = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn.logger = _handshake_log

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> "Handshake":
        """Return the handshake of an ASGI scope. Raises KeyError under another server."""
        handshake: Handshake = scope["extensions"][_EXTENSION]
        return handshake

    def serve_with(self, reader: Reader, bounds: SendBounds) -> None:
        """Have `reader` serve the connection until its end. The application may return."""
        assert self.websocket is not None
        self._is_served = True
        # The scope lives as long as the connection.
        del self.scope["extensions"][_EXTENSION]
        self.websocket.hand_over(reader, bounds)
        while not self.queue.empty():
            event = self.queue.get_nowait()
            if event["type"] == "websocket.receive":
                reader.take(event.get("text") or event.get("bytes") or "")
            else:
                reader.ended(self._end_reason)
        self.websocket.resume_reading()

    def handle_connect(self, event: Request) -> None:
        """Start the application, and put this object into its scope."""
        try:
            super().handle_connect(event)
        except UnicodeEncodeError:
            return  # The refusal would quote what the client sent.
        if self.response.status_code == 101:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[_EXTENSION] = self

    def data_received(self, data: bytes) -> None:
        """Read the request. Anything sent before it is accepted has to wait."""
        if self.handshake_initiated:
            self._early += data
            self.transport.pause_reading()
        else:
            super().data_received(data)
            if self.conn.handshake_exc is not None:
                # uvicorn would wait forever for the rest of a request that it cannot read.
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
            if not self._is_served:
                self.transport.close()

    async def send(self, message: Any) -> None:
        """Carry out a message from the application."""
        if message["type"] == "websocket.accept":
            self._accept()
        elif self.websocket is None:
            await super().send(message)
        elif message["type"] == "websocket.send":
            self.websocket.write(message.get("bytes") or message["text"].encode())
        else:
            self.websocket.close()

    def take(self, data: str | bytes) -> None:
        """Queue a message for the application."""
        if isinstance(data, str):
            self.queue.put_nowait({"type": "websocket.receive", "text": data})
        else:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        self.read_paused = True
        self.transport.pause_reading()

    def allows(self, size: int) -> bool:
        """Allow everything: at this stage, `STRANGER_BYTES` limits what is read."""
        return True

    def ended(self, reason: DisconnectReason) -> None:
        """Tell the application that the websocket has ended."""
        self._end_reason = reason
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1005})

    def stalled(self) -> None:
        """Cut the client off."""
        if self.websocket is not None:
            self.websocket.cut_off(DisconnectReason.SLOW_CLIENT)

    def shutting_down(self) -> None:
        """Send the client away: it has not been served yet."""
        if self.websocket is not None:
            self.websocket.go_away()

    def _accept(self) -> None:
        if self.transport.is_closing():
            return
        self.handshake_complete = True
        self.connections.discard(self)
        out = Outgoing(self.transport)
        self.websocket = WebSocket(self, out, self.connections, self.config.ws_max_size)
        frames = WSProtocol(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=lambda _: self.websocket,
            logger=_frames_log,
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
        # uvloop caches the protocol's `data_received`, and with it this object; picows has no such method.
        self.transport.set_protocol(_NO_PROTOCOL)
        self.websocket.read_with(frames)
        _feed(frames, _request(self.request.headers["Sec-WebSocket-Key"]) + self._early)
        self.transport.resume_reading()


def _request(key: str) -> bytes:
    """Return the smallest request that picows accepts. uvicorn has checked the client's own."""
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
