"""uvicorn's websocket, with a write that never waits and an end that waits for no reader.

ASGI can only send by awaiting, which takes a task for every socket that may be slow. The transport
needs to write in passing, to know how much waits for the client, and to cut off one who does not read.
And it needs to get out of the twenty calls, from uvicorn to Starlette to engineio, that lead to a
handshake: every connection would keep them on its stack for as long as it lasts.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.types import Receive
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

_EXTENSION: Final = "bbgram.websocket"


class WebSocket(WebSocketsSansIOProtocol):
    """One connection. uvicorn makes them: `uvicorn.Config(ws=WebSocket)`."""

    _unsent_bytes = 0
    _serve: Callable[[Receive], Awaitable[None]] | None = None

    @classmethod
    def of(cls, scope: dict[str, Any]) -> "WebSocket":
        """Return the websocket that an ASGI scope belongs to. Raises KeyError under another server."""
        websocket: WebSocket = scope["extensions"][_EXTENSION]
        return websocket

    def handle_connect(self, event: Request) -> None:
        """Start the application, and let it know this object."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[_EXTENSION] = self

    def serve_with(self, serve: Callable[[Receive], Awaitable[None]]) -> None:
        """Have `serve` take over when the application returns from the handshake."""
        self._serve = serve
        del self.request, self.response

    async def run_asgi(self) -> None:
        """Run the application, and then what it has left to serve the connection."""
        self.app = self._run(self.app)
        await super().run_asgi()

    def _run(self, application: Any) -> Any:
        async def run(scope: Any, receive: Any, send: Any) -> None:
            await application(scope, receive, send)
            if self._serve is not None:
                await self._serve(receive)

        return run

    def write(self, text: bytes) -> None:
        """Send a text frame; to a connection that is closing, nothing.

        Frames that are written in one go leave together: a call into the kernel costs more than a frame.
        """
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return
        self.conn.send_text(text)
        if not self._unsent_bytes:
            self.loop.call_soon(self._flush)
        self._unsent_bytes += len(text)

    @property
    def waiting_bytes(self) -> int:
        """How much of what was written the network has not taken yet."""
        return self._unsent_bytes + self.transport.get_write_buffer_size()

    def abort(self) -> None:
        """Cut the connection off, with everything that waits."""
        self.transport.abort()

    async def close(self) -> None:
        """Say goodbye if the client reads, otherwise cut it off. Does not wait for an answer."""
        if self.writable.is_set():
            await self.send({"type": "websocket.close", "code": 1000, "reason": ""})
        else:
            self.abort()

    def _flush(self) -> None:
        self._unsent_bytes = 0
        if not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()))
