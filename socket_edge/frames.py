"""Keeps from engineio what it would trip over: frames that are none, bodies that it would not read.

An exception in its websocket loop leaves a socket behind that counts as connected until its ping
times out, and a body over its limit makes it wait for a poll that may never come.
"""

from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CLOSED: Message = {"type": "websocket.disconnect", "code": 1002}


class FrameGuard:
    """ASGI middleware around engineio; `frame_bytes` is the largest body it lets through."""

    def __init__(self, app: ASGIApp, frame_bytes: int) -> None:
        self._app = app
        self._frame_bytes = frame_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is well-formed."""
        if scope["type"] == "websocket":
            await self._app(scope, _checked(receive), send)
        elif _content_length(scope) > self._frame_bytes:
            await PlainTextResponse("The body is too large.", 413)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _checked(receive: Receive) -> Receive:
    async def receive_frame() -> Message:
        message = await receive()
        text: Any = message.get("text")
        if message["type"] != "websocket.receive" or text is None:
            return message
        frame = _well_formed(text)
        return _CLOSED if frame is None else {**message, "text": frame}

    return receive_frame


def _well_formed(text: str) -> str | None:
    """Return the Engine.IO frame without data that its kind cannot have; None if it is no frame.

    engineio parses such data as JSON, however deep it is nested.
    """
    kind = text[:1]
    if kind == "4" and text[1:2].isnumeric():
        return text
    if kind and kind in "0123456":
        return text if text == "2probe" else kind
    return None


def _content_length(scope: Scope) -> int:
    lengths = [value for name, value in scope.get("headers", ()) if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0
