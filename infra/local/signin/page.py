"""Serves the chat page of `clients/web`, and what it asks the local stack for."""

from pathlib import Path
from typing import Final

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from infra.local.signin.app import bearer
from infra.local.signin.service import READY_MADE, SigninService

_LOOPBACK: Final = ("127.0.0.1", "localhost")


def page_routes(
    service: SigninService, chat_url: str, vapid_key: str | None, folder: Path | None
) -> list[BaseRoute]:
    """Return the routes: settings, ready-made users, tokens that expire soon, and the built page."""

    def config(_: Request) -> Response:
        return JSONResponse({"chatUrl": chat_url, "vapidKey": vapid_key, "readyMade": READY_MADE})

    def sign_in(request: Request) -> Response:
        return JSONResponse(service.sign_in_ready_made(request.path_params["username"]))

    def short_lived(request: Request) -> Response:
        return JSONResponse(service.short_lived(bearer(request)))

    dev = [
        Route("/config.json", config),
        Route("/sign-in/{username}", sign_in, methods=["POST"]),
        Route("/short-lived-token", short_lived, methods=["POST"]),
    ]
    # Unlike Supabase Auth's paths, these give away tokens: other sites may not reach them by any name.
    own_host = Middleware(TrustedHostMiddleware, allowed_hosts=_LOOPBACK, www_redirect=False)
    routes: list[BaseRoute] = [Mount("/dev", routes=dev, middleware=[own_host])]
    return [*routes, Mount("/", _Page(folder, chat_url))] if folder else routes


class _Page(StaticFiles):
    """The files of the page. It has a policy of its own (`clients/web/csp.ts`); headers add to it."""

    def __init__(self, folder: Path, chat_url: str) -> None:
        super().__init__(directory=folder, html=True)
        self._headers = {
            "Content-Security-Policy": f"connect-src 'self' {_sources(chat_url)}; frame-ancestors 'none'",
            "Cache-Control": "no-cache",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file with the headers."""
        response = await super().get_response(path, scope)
        response.headers.update(self._headers)
        return response


def _sources(chat_url: str) -> str:
    """Return what a policy calls the chat. Policies have no word for an IPv6 address: then any host will do."""
    return "http: ws:" if "[" in chat_url else f"{chat_url} {chat_url.replace('http', 'ws', 1)}"
