"""Engine.IO over HTTP: checks each request as a Node.js server does, reads its body, and answers it.

python-engineio lets requests pass that the protocol refuses, and reads no body that comes in chunks.
"""

import asyncio
import gzip
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from engineio import AsyncServer
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from socket_edge import metrics
from socket_edge.connection.bounds import (
    POLL_PACKETS,
    STRANGER_BYTES,
    BodyTooLarge,
    ClientGone,
    read_body,
)
from socket_edge.connection.engineio import EngineConnection, Hub
from socket_edge.connection.packets import RECORD_SEPARATOR, jsonp, read_packets

_VERSION: Final = "4"
"""The version of Engine.IO, which socket.io-client 3 and later speak."""
_POLLING: Final = "polling"
_WEBSOCKET: Final = "websocket"
_GZIP_BYTES: Final = 1_024
"""Answers from this size on are compressed for clients that accept it."""
_LAST_WORDS_S: Final = 10.0
"""How long what an ended connection has not fetched is kept: clients may be between two polls."""
_LAST_WORDS: Final = 1_000
"""Connections whose last words are kept."""


class Fault(Enum):
    """Why a request cannot be served: code and message, as Node.js servers answer them."""

    UNKNOWN_TRANSPORT = (0, "Transport unknown")
    UNKNOWN_SESSION = (1, "Session ID unknown")
    BAD_HANDSHAKE_METHOD = (2, "Bad handshake method")
    BAD_REQUEST = (3, "Bad request")
    UNSUPPORTED_VERSION = (5, "Unsupported protocol version")

    def response(self) -> Response:
        """Return the answer to such a request."""
        code, message = self.value
        return JSONResponse({"code": code, "message": message}, 400)


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What a request asks for."""

    method: str
    """`GET` for a websocket."""
    is_websocket: bool
    """Whether it is a websocket handshake."""
    transport: str
    version: str
    session_id: str
    """Engine.IO id; empty to open a connection."""
    jsonp_index: int | None
    """Number of the JSONP callback, if the client wants scripts as answers."""

    @classmethod
    def of(cls, scope: Scope) -> "EngineRequest":
        """Return what an ASGI scope asks for."""
        query: dict[str, list[str]] = parse_qs(scope["query_string"].decode(errors="replace"))

        def first(name: str) -> str:
            return query.get(name, [""])[0]

        index = first("j")
        return cls(
            method=scope.get("method", "GET"),
            is_websocket=scope["type"] == "websocket",
            transport=first("transport"),
            version=first("EIO"),
            session_id=first("sid"),
            jsonp_index=int(index) if index.isdecimal() and len(index) < 10 else None,
        )


class EndpointHub(Hub, Protocol):
    """What the endpoint needs besides what all connections share."""

    is_draining: bool
    """Whether no new connections are opened."""

    def opened(self, connection: EngineConnection, scope: Scope) -> None:
        """Called when a request has opened a connection."""

    def unsupported_version(self, scope: Scope, version: str) -> None:
        """Called when a client asks for a version of Engine.IO that is not served; empty if for none."""


class Endpoint(AsyncServer):  # type: ignore[misc]
    """An ASGI application for the requests and websockets of Engine.IO."""

    hub: EndpointHub
    sockets: dict[str, EngineConnection]
    """The open connections, by Engine.IO id."""
    _last_words: dict[str, list[str]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._last_words = {}

    def forget(self, connection: EngineConnection) -> None:
        """Remove a connection that has ended. The next poll gets what it was told last, such as why."""
        self.sockets.pop(connection.sid, None)
        if words := connection.last_words():
            self._last_words[connection.sid] = words
            if len(self._last_words) > _LAST_WORDS:
                del self._last_words[next(iter(self._last_words))]
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._last_words.pop, connection.sid, None)

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or serve a websocket."""
        request = EngineRequest.of(scope)
        try:
            response = await self._respond(request, scope, receive, send)
        except ClientGone:
            if (connection := self.sockets.get(request.session_id)) is not None:
                connection.client_gone()
            return
        if response is not None:
            headers = Headers(scope=scope)
            if "gzip" in headers.get("accept-encoding", "") and len(response.body) >= _GZIP_BYTES:
                response.body = gzip.compress(response.body, compresslevel=6)
                response.headers.update(
                    {"Content-Encoding": "gzip", "Content-Length": str(len(response.body))}
                )
            await response(scope, receive, send)

    async def _respond(
        self, request: EngineRequest, scope: Scope, receive: Receive, send: Send
    ) -> Response | None:
        """Return the answer to a request; None once a websocket is served. Raises ClientGone."""
        if request.method == "OPTIONS":
            return PlainTextResponse("ok")
        if (fault := self._fault(request)) is not None:
            if fault is Fault.UNSUPPORTED_VERSION:
                self.hub.unsupported_version(scope, request.version)
            return fault.response()
        if not request.session_id and self.hub.is_draining:
            return PlainTextResponse("This edge is shutting down.", 503, {"Retry-After": "1"})
        connection = self.sockets.get(request.session_id)
        if request.is_websocket:
            await receive()  # what ASGI begins with
            connection = connection or self._open(scope)
            await connection.serve_websocket(scope, receive, send)
            return None
        if request.method == "POST":
            assert connection is not None
            with connection.posting() as is_alone:
                if not is_alone:
                    return Fault.BAD_REQUEST.response()
                return await self._take(connection, request, scope, receive)
        return await self._poll(connection, request, scope, receive)

    def _fault(self, request: EngineRequest) -> Fault | None:
        if request.transport not in (_POLLING, _WEBSOCKET):
            return Fault.UNKNOWN_TRANSPORT
        if request.is_websocket is not (request.transport == _WEBSOCKET):
            return Fault.BAD_REQUEST
        if not request.session_id:
            if request.method != "GET":
                return Fault.BAD_HANDSHAKE_METHOD
            return None if request.version == _VERSION else Fault.UNSUPPORTED_VERSION
        connection = self.sockets.get(request.session_id)
        if connection is None:
            is_farewell = request.session_id in self._last_words and request.method == "GET"
            return None if is_farewell and not request.is_websocket else Fault.UNKNOWN_SESSION
        is_served = connection.is_polling and request.method in ("GET", "POST")
        return None if is_served else Fault.BAD_REQUEST

    def _open(self, scope: Scope) -> EngineConnection:
        session_id = self.generate_id()
        connection = self.sockets[session_id] = EngineConnection(self.hub, session_id)
        self.hub.opened(connection, scope)
        return connection

    async def _poll(
        self, connection: EngineConnection | None, request: EngineRequest, scope: Scope, receive: Receive
    ) -> Response:
        """Answer a poll, or open a connection. Raises ClientGone."""
        try:
            body = await read_body(scope, receive, self._limit(connection))
        except BodyTooLarge as error:
            return _too_large(connection, error.size)
        metrics.RECEIVED_BYTES.counts[()] += len(body)
        packets: list[str] | None
        if request.session_id and connection is None:
            packets = self._last_words.pop(request.session_id, None)
        elif connection is None:
            connection = self._open(scope)
            packets = [connection.open_polling()]
        else:
            packets = await connection.poll(len(body), receive)
        if packets is None:
            return Fault.BAD_REQUEST.response()
        answer = RECORD_SEPARATOR.join(packets)
        if request.jsonp_index is not None:
            return _answer(jsonp(answer, request.jsonp_index), "text/javascript")
        return _answer(answer, "text/plain")

    async def _take(
        self, connection: EngineConnection, request: EngineRequest, scope: Scope, receive: Receive
    ) -> Response:
        """Take the packets that a client has posted. Raises ClientGone."""
        try:
            body = await read_body(scope, receive, self._limit(connection))
        except BodyTooLarge as error:
            return _too_large(connection, error.size)
        metrics.RECEIVED_BYTES.counts[()] += len(body)
        if body.count(RECORD_SEPARATOR.encode()) >= POLL_PACKETS:
            return _too_large(connection, len(body))
        is_jsonp = request.jsonp_index is not None
        packets = read_packets(body, is_form=is_jsonp)
        if not await connection.take_body(packets, len(body)):
            return Fault.BAD_REQUEST.response()
        return _answer("ok", "text/html")

    def _limit(self, connection: EngineConnection | None) -> int:
        is_stranger = connection is None or connection.session is None
        return min(self.hub.max_payload, STRANGER_BYTES) if is_stranger else self.hub.max_payload


def _answer(text: str, media_type: str) -> Response:
    response = Response(
        text, headers={"Cache-Control": "no-store", "Content-Type": f"{media_type}; charset=UTF-8"}
    )
    metrics.SENT_BYTES.counts[()] += len(response.body)
    return response


def _too_large(connection: EngineConnection | None, size: int) -> Response:
    if connection is not None:
        connection.is_request_allowed(size)
    return PlainTextResponse("The body is too large.", 413)
