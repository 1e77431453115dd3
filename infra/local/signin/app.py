"""The service over HTTP, under the paths of Supabase Auth. For development: any origin may call it.

Other paths belong to the chat page.
"""

import json
from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from infra.local.signin.errors import SigninError
from infra.local.signin.service import SigninService


def create_app(service: SigninService, others: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the HTTP app of `service`, with other routes beside its own."""

    async def sign_up(request: Request) -> Response:
        body = await _body(request)
        return JSONResponse(
            await run_in_threadpool(
                service.sign_up, body.get("email"), body.get("password"), body.get("data")
            )
        )

    async def token(request: Request) -> Response:
        body = await _body(request)
        match request.query_params.get("grant_type"):
            case "password":
                answer = await run_in_threadpool(service.sign_in, body.get("email"), body.get("password"))
            case "refresh_token":
                answer = await run_in_threadpool(service.refresh, body.get("refresh_token"))
            case _:
                raise SigninError(400, "validation_failed", "grant_type must be password or refresh_token")
        return JSONResponse(answer)

    def user(request: Request) -> Response:
        return JSONResponse(service.user(bearer(request)))

    def sign_out(request: Request) -> Response:
        service.sign_out(bearer(request), request.query_params.get("scope", "global"))
        return Response(status_code=204)

    def jwks(_: Request) -> Response:
        return JSONResponse(service.jwks())

    def health(_: Request) -> Response:
        return JSONResponse({"name": "GoTrue", "description": "BB-Gram dev sign-in", "version": "dev"})

    routes = [
        Route("/signup", sign_up, methods=["POST"]),
        Route("/token", token, methods=["POST"]),
        Route("/user", user),
        Route("/logout", sign_out, methods=["POST"]),
        Route("/.well-known/jwks.json", jwks),
        Route("/health", health),
    ]
    any_origin = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
    return Starlette(
        routes=[Mount("/auth/v1", routes=routes, middleware=[any_origin]), *others],
        exception_handlers={SigninError: _refuse, HTTPException: _refuse},
    )


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise SigninError(400, "bad_json", "Could not parse request body as JSON") from error
    if not isinstance(body, dict):
        raise SigninError(400, "bad_json", "The request body must be a JSON object")
    return body


def bearer(request: Request) -> str:
    """Return the access token of a request. Raises SigninError."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise SigninError(401, "no_authorization", "This endpoint requires a valid Bearer token")
    return token.strip()


def _refuse(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = SigninError(error.status_code, "validation_failed", error.detail)
    assert isinstance(error, SigninError)
    return JSONResponse(error.body(), status_code=error.status)
