"""The server API as an ASGI application: keys, routes, limits, and one answer for each request."""

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final, NamedTuple

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from infra.settings.api_keys import ApiKey
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.server_api import CALLS, SEND_MESSAGES, Call
from socket_edge import metrics
from socket_edge.api.calls import Calls, idempotency_key, read_messages
from socket_edge.api.keys import ApiKeys
from socket_edge.api.problems import NoSuchMethod, to_response
from socket_edge.connection.bounds import BodyTooLarge, ClientGone, keep_alive, read_body
from socket_edge.limits.token_bucket import TokenBucket

IN_FLIGHT_MAX: Final = 256
"""Requests at once on one edge, with their bodies."""
_UNKNOWN: Final = "unknown"
"""In metrics: no known call, or no known key."""
_FIELD = re.compile(r"\{(\w+)\}")


class _Route(NamedTuple):
    call: Call
    path: re.Pattern[str]


_ROUTES: Final = [
    _Route(call, re.compile(_FIELD.sub(r"(?P<\1>[^/]+)", call.path))) for call in CALLS.values()
]


class ServerApi:
    """Answers what comes to `/v1`."""

    def __init__(
        self,
        keys: ApiKeys,
        calls: Calls,
        limit: TokenBucket,
        body_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._calls = calls
        self._limit = limit
        self._body_bytes = body_bytes
        self._clock = clock
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        began, labels = self._clock(), {"call": _UNKNOWN, "key": _UNKNOWN}
        try:
            response = await self._answer(scope, receive, labels)
        except Rejection as rejection:
            response = to_response(rejection)
        except ClientGone:
            return
        metrics.API_REQUESTS.counts[labels["call"], labels["key"], str(response.status_code)] += 1
        if labels["call"] != _UNKNOWN:
            metrics.API_SECONDS.observe(self._clock() - began, labels["call"])
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, labels: dict[str, str]) -> Response:
        """Return the answer, and note what is known of the request in `labels`. Raises Rejection."""
        headers = dict(scope["headers"])
        key = self._keys.find(headers.get(b"authorization", b""))
        labels["key"] = key.name
        keep_alive(scope)
        self._count(key)
        call, path = _route(scope["method"], scope["path"])
        labels["call"] = call.name
        if call.scope not in key.scopes:
            raise Rejection(ErrorCode.NOT_ALLOWED, f"This API key does not have the scope `{call.scope}`.")
        with self._in_flight_bounded():
            body = await self._body(scope, receive)
            if call.name == SEND_MESSAGES:
                return await self._send(key, body, headers)
            return _json(await self._calls.relay(call, path, scope["query_string"], body), call.status)

    async def _send(self, key: ApiKey, body: bytes, headers: Mapping[bytes, bytes]) -> Response:
        repeat_key = idempotency_key(headers.get(b"idempotency-key"))
        many = read_messages(body)
        if many is None:
            return _json(await self._calls.send(body, repeat_key), CALLS[SEND_MESSAGES].status)
        # The next call waits for what these cost.
        self._limit.spend(key.name, self._clock(), len(many.messages) - 1)
        return _json(await self._calls.send_many(many, repeat_key), HTTPStatus.OK)

    def _count(self, key: ApiKey) -> None:
        """Count a request. Raises Rejection(rate_limited)."""
        if wait_s := self._limit.take(key.name, self._clock()):
            raise Rejection(ErrorCode.RATE_LIMITED, retry_after_ms=math.ceil(wait_s * 1000))

    @contextmanager
    def _in_flight_bounded(self) -> Iterator[None]:
        if self._in_flight >= IN_FLIGHT_MAX:
            raise Rejection(ErrorCode.BUSY)
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        try:
            return await read_body(scope, receive, self._body_bytes)
        except BodyTooLarge as error:
            text = f"The body is larger than {self._body_bytes} bytes."
            raise Rejection(ErrorCode.PAYLOAD_TOO_LARGE, text) from error


def _route(method: str, path: str) -> tuple[Call, Mapping[str, str]]:
    """Return the call of a request, and what its path says. Raises Rejection(unknown_event)."""
    found = [(route.call, match) for route in _ROUTES if (match := route.path.fullmatch(path))]
    if not found:
        raise Rejection(ErrorCode.UNKNOWN_EVENT, "There is no such call.")
    for call, match in found:
        if call.method == method:
            return call, match.groupdict()
    raise NoSuchMethod(", ".join(sorted(call.method for call, _ in found)))


def _json(content: bytes, status: HTTPStatus) -> Response:
    return Response(content, status, media_type="application/json")
