"""What uvicorn leaves open: how large a head may grow, how long a request may take, who may go on.

Without these bounds a client that never signs in, and never even finishes a request, holds a connection
for good, or makes the edge keep as much of a head as it cares to send.
"""

import math
from asyncio import TimerHandle, Transport
from typing import ClassVar, Final, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_GO_ON: Final = (200, 413)
"""Who is cut off while still sending too large a body would not read the answer."""
HEAD_BYTES: Final = 65_536
"""Request line and headers; what uvicorn allows with its other parser."""


class Http(HttpToolsProtocol):
    """One HTTP connection, `uvicorn.Config(http=Http.within(seconds))`."""

    request_s: ClassVar[float]
    """From the first byte of a request, or from the connect, to the last byte."""
    _late: TimerHandle | None = None
    _head_left: float = HEAD_BYTES
    """Bytes that the head may still take; infinite while a body comes."""

    @classmethod
    def within(cls, request_s: float) -> type["Http"]:
        """Return the protocol with this bound."""
        return cast("type[Http]", type("Http", (cls,), {"request_s": request_s}))

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless this is no head of a decent size."""
        if self.cycle is None or self.cycle.response_complete:
            # Even blank lines before a request count: they end the time that uvicorn gives idle clients.
            self._expect_request()
        self._head_left -= len(data)
        super().data_received(data)
        if self._head_left < 0 and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Expect the end of what begins."""
        super().on_message_begin()
        self._expect_request()

    def on_headers_complete(self) -> None:
        """Let the body be as large as the application says."""
        self._head_left = math.inf
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Let the answer take its time."""
        self._head_left = HEAD_BYTES
        self._expect_nothing()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the websocket, which has bounds of its own."""
        self._expect_nothing()
        super().handle_websocket_upgrade()

    def _expect_request(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.request_s, self.transport.abort)

    def _expect_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class KeepAlive:
    """ASGI middleware: only polls that have succeeded keep their TCP connection for the next one.

    Polls belong to a Socket.IO connection, which is counted, and ends when nobody signs in. A client that
    asks for anything else, or for what there is not, again and again, would have a connection for good.
    """

    def __init__(self, app: ASGIApp, polls: str) -> None:
        self._app = app
        self._polls = polls
        """Where the path of a poll begins."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the application answer, and part with the client if it was no poll."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_poll = scope["path"].startswith(self._polls) and scope["method"] in ("GET", "POST")

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and not (is_poll and message["status"] in _GO_ON):
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, answer)
