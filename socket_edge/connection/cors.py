"""The headers by which browsers let a page of another origin read an answer (CORS, Fetch standard)."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from socket_edge.limits.origins import Origins

_VARY = (b"vary", b"Origin")


class Cors:
    """ASGI middleware: every origin may read every answer, allowed ones even if they send cookies along.

    A foreign page is refused when it signs in, where it can be told why. The edge uses no cookies;
    balancers do, and such pages ask for `withCredentials`.
    """

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the application answer, and add the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = self._headers(scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, answer)

    def _headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        sent = dict(scope["headers"])
        origin: bytes = sent.get(b"origin", b"")
        if not origin:
            return [_VARY]
        headers = [_VARY, (b"access-control-allow-origin", origin)]
        if self._origins.allow(
            origin.decode(errors="replace"), sent.get(b"host", b"").decode(errors="replace")
        ):
            headers.append((b"access-control-allow-credentials", b"true"))
        if scope["method"] == "OPTIONS":
            headers.append((b"access-control-allow-methods", b"GET, POST"))
            if asked := sent.get(b"access-control-request-headers"):
                headers.append((b"access-control-allow-headers", asked))
        return headers
