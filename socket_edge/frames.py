"""Keeps from engineio what it would trip over: frames that are none, bodies that it would not read.

It parses as JSON what a kind of frame cannot have, however deep it is nested, and a body over its limit
makes it wait for a poll that may never come. It fails on a client that is gone already, and would answer
an HTTP request that asks for a websocket as if it were one.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from socket_edge.websocket import STRANGER_BYTES


def well_formed(frame: str) -> str | None:
    """Return an Engine.IO frame without data that its kind cannot have; None if it is no frame."""
    kind = frame[:1]
    if kind == "4" and frame[1:2].isnumeric():
        return frame
    if kind and kind in "0123456":
        return frame if frame == "2probe" else kind
    return None


class BodyGuard:
    """ASGI middleware around engineio: no body over `limit`, without sign-in none over `STRANGER_BYTES`."""

    def __init__(self, app: ASGIApp, limit: int, knows: Callable[[str], bool]) -> None:
        self._app = app
        self._limit = limit
        self._knows = knows
        """Whether somebody has signed in on the connection with this id."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is not too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif (size := _content_length(scope)) > self._limit or (
            size > STRANGER_BYTES and not self._is_known(scope)
        ):
            await PlainTextResponse("The body is too large.", 413)(scope, receive, send)
        elif _header(scope, b"upgrade").lower() == b"websocket":
            await PlainTextResponse("This is no websocket handshake.", 400)(scope, receive, send)
        elif (first := await receive())["type"] == "http.request":
            await self._app(scope, _again(first, receive), send)

    def _is_known(self, scope: Scope) -> bool:
        (sid, *_) = parse_qs(scope["query_string"].decode(errors="replace")).get("sid", [""])
        return self._knows(sid)


def _again(first: Any, receive: Receive) -> Receive:
    """Return a `receive` that brings the first message once more."""
    messages = [first]

    async def receive_again() -> Any:
        return messages.pop() if messages else await receive()

    return receive_again


def _content_length(scope: Scope) -> int:
    length = _header(scope, b"content-length")
    return int(length) if length.isdigit() else 0


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope.get("headers", ()) if name == wanted), b"")
