"""A websocket behind its handshake: picows reads and writes the frames.

ASGI needs a queue, a wake-up and a task for each incoming message, and can only send by awaiting. Here
each message goes to a callback, a write never waits, and a client that does not read is cut off.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSProtocolError, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from socket_edge import metrics
from socket_edge.connection.api import DisconnectReason
from socket_edge.connection.bounds import CLOSE_S, STRANGER_BYTES, UNREAD_BYTES, SendBounds
from socket_edge.connection.outgoing import Outgoing

_VIOLATIONS: Final = (
    *(WSCloseCode.PROTOCOL_ERROR, WSCloseCode.UNSUPPORTED_DATA),
    *(WSCloseCode.INVALID_TEXT, WSCloseCode.MESSAGE_TOO_BIG),
)
"""Codes with which picows closes a websocket whose client broke the protocol."""


class Reader(Protocol):
    """Reads a websocket. No method may raise."""

    def take(self, data: str | bytes) -> None:
        """Take a message."""

    def allows(self, size: int) -> bool:
        """Meter a control frame or a fragment; False if the client must no longer be served."""

    def ended(self, reason: DisconnectReason) -> None:
        """Called once, when the websocket has ended."""

    def stalled(self) -> None:
        """Called when too much waits for a client that does not read."""

    def shutting_down(self) -> None:
        """Called when the server is shutting down: call `go_away` once nothing is owed to the client."""


class WebSocket(WSListener):
    """An accepted websocket, read by one `Reader` after another."""

    __slots__ = (
        *("_close_timer", "_connections", "_fragments", "_frames", "_has_ended", "_is_text", "_limit"),
        *("_out", "_reader", "_ws"),
    )

    def __init__(self, reader: Reader, out: Outgoing, connections: set[Any], limit: int) -> None:
        """`limit` is the largest message in bytes; uvicorn shuts down all `connections`."""
        self._reader = reader
        self._out = out
        self._connections = connections
        self._limit = limit
        self._fragments: bytearray | None = None
        self._is_text = False
        self._close_timer: asyncio.TimerHandle | None = None
        self._has_ended = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Register with uvicorn, which shuts down open connections."""
        self._ws = transport
        self._connections.add(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Hand over each complete message."""
        kind = frame.msg_type
        metrics.RECEIVED_BYTES.counts[()] += frame.payload_size
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "no extension was agreed on")
        if kind == WSMsgType.TEXT and frame.fin and self._fragments is None:
            if not transport.is_close_frame_sent:
                self._reader.take(_text(frame.get_payload_as_bytes()))
        elif kind == WSMsgType.CLOSE:
            self._answer_close(frame)
        elif transport.is_close_frame_sent:
            return
        elif kind == WSMsgType.BINARY and frame.fin and self._fragments is None:
            self._reader.take(frame.get_payload_as_bytes())
        elif kind in (WSMsgType.PING, WSMsgType.PONG):
            if self._reader.allows(frame.payload_size) and kind == WSMsgType.PING:
                self._answer_ping(frame)
        elif self._reader.allows(0):  # the bytes of a fragment are metered with its message
            self._take_fragment(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Forget the connection."""
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._connections.discard(self)
        self._end(self._reason())

    def pause_writing(self) -> None:
        """Do nothing: `Outgoing` checks how much waits before each write."""

    def resume_writing(self) -> None:
        """Do nothing."""

    def hand_over(self, reader: Reader, bounds: SendBounds) -> None:
        """Have `reader` read from now on. `bounds` limit what may wait for the client."""
        self._reader = reader
        self._out.bound(bounds, reader.stalled)

    def read_with(self, frames: WSProtocol) -> None:
        """Have picows read, but only `STRANGER_BYTES` until the client is trusted."""
        self._frames = frames
        self._out.transport.set_protocol(_StrangerProtocol(frames, self._cut_stranger))

    def trust(self) -> None:
        """Lift the limit for strangers."""
        if not self._out.transport.is_closing():
            self._out.transport.set_protocol(self._frames)

    def pause_reading(self) -> None:
        """Stop reading from the network."""
        if not self._out.transport.is_closing():
            self._out.transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading from the network."""
        if not self._out.transport.is_closing():
            self._out.transport.resume_reading()

    def write(self, text: bytes) -> None:
        """Send a text message; does nothing on a connection that is closing."""
        self._ws.send(WSMsgType.TEXT, text)

    def abort(self) -> None:
        """Cut the connection off. Whatever waits in it is lost."""
        self._out.transport.abort()

    def cut_off(self, reason: DisconnectReason) -> None:
        """Cut the connection off, and tell the reader why."""
        self.abort()
        self._end(reason)

    def close(self) -> None:
        """Send a close frame if the client reads; otherwise cut it off. Does not wait for an answer."""
        if self._out.transport.get_write_buffer_size() > UNREAD_BYTES:
            self.abort()
        elif not self._ws.is_close_frame_sent and not self._out.transport.is_closing():
            self._ws.send_close(WSCloseCode.OK)
            self._abort_later()

    def shutdown(self) -> None:
        """Called by uvicorn when it stops; it then waits for the connection to end."""
        self.pause_reading()
        self._reader.shutting_down()

    def go_away(self) -> None:
        """Ask the client to reconnect, and end."""
        if not self._out.transport.is_closing():
            self._ws.send_close(WSCloseCode.SERVICE_RESTART)
            # Closing with unread bytes would reset the connection and lose what was just sent.
            self.resume_reading()
            self._abort_later()
        self._end(DisconnectReason.SERVER_SHUTDOWN)

    def _abort_later(self) -> None:
        self._close_timer = asyncio.get_running_loop().call_later(CLOSE_S, self.abort)

    def _take_fragment(self, frame: WSFrame) -> None:
        if (frame.msg_type == WSMsgType.CONTINUATION) is (self._fragments is None):
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "unexpected continuation frame")
        if self._fragments is None:
            self._fragments, self._is_text = bytearray(), frame.msg_type == WSMsgType.TEXT
        self._fragments += frame.get_payload_as_bytes()
        if len(self._fragments) > self._limit:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, "the message is too large")
        if frame.fin:
            data, self._fragments = bytes(self._fragments), None
            self._reader.take(_text(data) if self._is_text else data)

    def _answer_ping(self, ping: WSFrame) -> None:
        if self._out.transport.get_write_buffer_size() > UNREAD_BYTES:
            self._reader.stalled()
        else:
            self._ws.send_pong(ping.get_payload_as_bytes())

    def _answer_close(self, frame: WSFrame) -> None:
        if not self._ws.is_close_frame_sent:
            self._ws.send_close(frame.get_close_code() or WSCloseCode.OK)
        self._ws.disconnect()
        self._end(self._reason())

    def _reason(self) -> DisconnectReason:
        """Return why the websocket ended, if the reader did not end it."""
        sent = self._ws.close_handshake.sent if self._ws.close_handshake else None
        is_violation = sent is not None and sent.code in _VIOLATIONS
        return DisconnectReason.PROTOCOL_ERROR if is_violation else DisconnectReason.TRANSPORT_CLOSED

    def _cut_stranger(self) -> None:
        self.cut_off(DisconnectReason.FLOOD)

    def _end(self, reason: DisconnectReason) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._reader.ended(reason)


class _StrangerProtocol(asyncio.BufferedProtocol):
    """Sits in front of picows until sign-in; cuts off a client that sends more than a sign-in needs."""

    __slots__ = ("_cut_off", "_frames", "_left")

    def __init__(self, frames: WSProtocol, cut_off: Callable[[], None]) -> None:
        self._frames = frames
        self._cut_off = cut_off
        self._left = STRANGER_BYTES

    def get_buffer(self, sizehint: int) -> Any:
        return self._frames.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        self._left -= nbytes
        if self._left < 0:
            self._cut_off()
        else:
            self._frames.buffer_updated(nbytes)

    def eof_received(self) -> bool | None:
        stays_open: bool | None = self._frames.eof_received()
        return stays_open

    def connection_lost(self, exc: Exception | None) -> None:
        self._frames.connection_lost(exc)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WSProtocolError(WSCloseCode.INVALID_TEXT, "the text is not UTF-8") from error
