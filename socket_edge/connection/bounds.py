"""Every limit on HTTP requests and frames, and the help that uvicorn and engineio need to enforce them.

Without these limits a client that never signs in, or never even finishes a request, could hold a
connection forever, or make the edge buffer whatever it sends.
"""

import math
import socket
from asyncio import TimerHandle, Transport
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast
from urllib.parse import parse_qs

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from infra.wire.errors import ErrorCode, Failure
from infra.wire.events import error_event
from socket_edge.limits.addresses import Addresses

BACKLOG: Final = 2_048
"""TCP connections that may wait to be accepted."""
HEAD_BYTES: Final = 65_536
"""Request line and headers; the limit of uvicorn's other parser."""
STRANGER_BYTES: Final = 131_072
"""Bytes a client may send on a websocket before it signs in, or in one request: enough for several tokens."""
POLL_PACKETS: Final = 10_000
"""Packets in the body of one long-polling request; a body with more is refused like one that is too large."""
POLL_ANSWER_PACKETS: Final = 16
"""Packets in the answer to a poll: clients based on python-engineio reject more and lose the connection."""
UNREAD_BYTES: Final = 65_536
"""Bytes that may wait for a client when it sends a ping or is closed; with more, it is cut off."""
CLOSE_S: Final = 10.0
"""How long a client may take to answer a close frame, in seconds."""
SHUTDOWN_S: Final = 5
"""How long all connections may take to close when the server shuts down, in seconds."""
REFUSED_SIGN_INS: Final = 10
"""Refused sign-ins after which the connection is closed: checking a signature is expensive."""
ACK_BYTES: Final = 1_024
"""A requested ack whose frame is up to this size is free; any other is metered."""

_KEEP_ALIVE: Final = (200, 413)
"""Statuses after which a poll keeps its connection. A client cut off while sending never reads its 413."""

_KEPT: Final = "bbgram.keep_alive"
"""In an ASGI scope: see `keep_alive`."""


@dataclass(frozen=True, slots=True)
class SendBounds:
    """How much may wait for a client that does not read."""

    max_packets: int
    max_bytes: int

    def allow(self, packets: int, size: int) -> bool:
        """Tell whether another packet may wait behind `packets` packets of `size` bytes in total."""
        return packets < self.max_packets and size < self.max_bytes


def bound_unread(listening: socket.socket, unread_s: float) -> None:
    """Have the kernel (Linux) cut off clients that leave data unread that long, even while being closed."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Accepted connections inherit it.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unread_s * 1000))


class BoundedHttp(HttpToolsProtocol):
    """An HTTP connection whose requests are bounded in time and size: `uvicorn.Config(http=...)`."""

    request_s: ClassVar[float]
    """Seconds from the first byte of a request, or from connecting, to the request's last byte."""
    _shutting_down: ClassVar[Any]
    _timed_out: ClassVar[Any]
    _timer: TimerHandle | None = None
    _head_left: float = HEAD_BYTES
    """Bytes that the head may still take; infinite while a body arrives."""

    @classmethod
    def within(
        cls, request_s: float, shutting_down: Callable[[], None], timed_out: Callable[[], None]
    ) -> type["BoundedHttp"]:
        """Return the protocol class with this time limit.

        `shutting_down` is called on shutdown, `timed_out` when a client is cut off by the limit.
        """
        settings = {
            "request_s": request_s,
            "_shutting_down": staticmethod(shutting_down),
            "_timed_out": staticmethod(timed_out),
        }
        return cast("type[BoundedHttp]", type("BoundedHttp", (cls,), settings))

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Keep reading, up to the limit of the head."""
        if self.cycle is None or self.cycle.response_complete:
            # Even blank lines before a request start the clock: they stop uvicorn's keep-alive timer.
            self._start_timer()
        self._head_left -= len(data)
        super().data_received(data)
        if self._head_left < 0 and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Start the clock for this request."""
        super().on_message_begin()
        self._start_timer()

    def on_headers_complete(self) -> None:
        """Leave the size of the body to the application."""
        self._head_left = math.inf
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock: the answer may take its time."""
        self._head_left = HEAD_BYTES
        self._stop_timer()
        super().on_message_complete()

    def shutdown(self) -> None:
        """Called by uvicorn when it stops. It then waits for open requests, such as polls that wait."""
        self._shutting_down()
        super().shutdown()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the websocket, which has limits of its own."""
        self._stop_timer()
        super().handle_websocket_upgrade()
        # The parser and this object hold each other, which would keep both until the next garbage collection.
        self.parser = None  # type: ignore[assignment]

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.request_s, self._cut_off)

    def _cut_off(self) -> None:
        self._timed_out()
        self.transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def keep_alive(scope: Scope) -> None:
    """Let the TCP connection of a request stay open after the answer: its client is known, and limited."""
    scope[_KEPT] = True


class KeepAlive:
    """ASGI middleware: closes the TCP connection after every answer, except to polls that succeed or get 413.

    Polls belong to a Socket.IO connection, which is counted and ends if nobody signs in. Any other
    client could hold a TCP connection forever with one small request after another, unless an application
    calls `keep_alive` for it.
    """

    def __init__(self, app: ASGIApp, polls: str) -> None:
        """`polls` is the prefix of a poll's path."""
        self._app = app
        self._polls = polls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the application answer; close the connection unless the answer is to such a poll."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_poll = scope["path"].startswith(self._polls) and scope["method"] in ("GET", "POST")

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and not (
                (is_poll and message["status"] in _KEEP_ALIVE) or _KEPT in scope
            ):
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, answer)


class ClientGone(Exception):
    """The client has hung up before its request was answered."""


class BodyTooLarge(Exception):
    """The body of a request has at least `size` bytes, which is over the limit."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the body of a request, whether its length was announced or it comes in chunks.

    Raises BodyTooLarge as soon as more than `limit` bytes are announced or have arrived, and ClientGone.
    """
    announced = _content_length(scope)
    if announced > limit:
        raise BodyTooLarge(announced)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge(len(body))
        if not message.get("more_body"):
            return bytes(body)


class AddressGuard:
    """ASGI middleware around engineio: refuses surplus connections with HTTP 429, before they cost more.

    Socket.IO clients treat that as a network failure and try again, with growing pauses. After a
    Socket.IO refusal they would not. Requests for connections that do not exist count like new
    connections, because nothing else meters them.
    """

    def __init__(self, app: ASGIApp, addresses: Addresses, is_polling: Callable[[str], bool]) -> None:
        self._app = app
        self._addresses = addresses
        self._is_polling = is_polling
        """Whether there is a polling connection with this Engine.IO id."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is allowed, and everything that belongs to a polling connection."""
        wait_s = 0.0 if self._is_free(scope) else self._addresses.admit(peer(scope))
        if wait_s:
            await _too_many_requests(wait_s)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_free(self, scope: Scope) -> bool:
        """Tell whether a request is metered by its connection, or asks for CORS headers only."""
        query: bytes = scope["query_string"]
        sid = _connection_id(scope) if b"sid" in query or b"%" in query else ""
        return self._is_polling(sid) if sid else scope.get("method") == "OPTIONS"


def peer(scope: Scope) -> str:
    """Return the client's address in an ASGI scope; empty if it has none."""
    client = scope.get("client")
    return client[0] if client else ""


def _connection_id(scope: Scope) -> str:
    """Return the Engine.IO id in a request, parsed as engineio does; empty if it has none."""
    query: bytes = scope["query_string"]
    return parse_qs(query.decode(errors="replace")).get("sid", [""])[0]


def _content_length(scope: Scope) -> int:
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(length) if length.isdigit() else 0


def _too_many_requests(wait_s: float) -> Response:
    failure = Failure.of(ErrorCode.RATE_LIMITED, retry_after_ms=math.ceil(wait_s * 1000))
    headers = {"Retry-After": str(math.ceil(wait_s))}
    return Response(msgspec.json.encode(error_event(failure)), 429, headers, "application/json")
