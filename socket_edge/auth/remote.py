"""Asks the Auth server about every token, so that ended sessions and banned users are refused too."""

import asyncio
from typing import Final

import httpx
import supabase
from supabase.lib.client_options import AsyncClientOptions

from infra.logs import shown
from infra.wire.errors import Rejection
from socket_edge.auth.claims import ClaimRules, read_header, read_unverified
from socket_edge.auth.identity import Identity
from socket_edge.auth.rejections import RefusalReason, unauthorized, unavailable

ALGORITHMS: Final = frozenset({"ES256", "RS256", "HS256"})
TIMEOUT_S: Final = 5.0

_TRANSIENT: Final = frozenset({408, 425, 429})


class RemoteAuthenticator:
    """Accepts tokens that `auth.get_user` of the `supabase` client accepts and whose claims are valid."""

    def __init__(self, supabase_url: str, supabase_key: str, rules: ClaimRules) -> None:
        self._rules = rules
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S)
        options = AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=self._http)
        self._auth = supabase.AsyncClient(supabase_url, supabase_key, options).auth

    async def authenticate(self, token: str) -> Identity:
        """Return the user of `token`. Raises Rejection."""
        # Claims first: checking them is cheap, and spares the server tokens that cannot be valid.
        read_header(token, ALGORITHMS)
        identity = read_unverified(token, self._rules)
        if await self._user_id(token) != identity.user_id:
            raise unauthorized(
                RefusalReason.SUBJECT, expected="the user that the Auth server names", got="another"
            )
        return identity

    async def aclose(self) -> None:
        """Close the connections to the Auth server."""
        await self._http.aclose()

    async def _user_id(self, token: str) -> str | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await self._auth.get_user(token)
        except supabase.AuthApiError as error:
            raise _refusal(error) from error
        except (supabase.AuthError, httpx.HTTPError, TimeoutError, ValueError) as error:
            raise unavailable(got=type(error).__name__) from error
        return answer.user.id.lower() if answer else None


def error_code(answer: httpx.Response) -> str | None:
    """Return Supabase Auth's own code for a refusal; None if something in front of it answered.

    With API version 2024-01-01 it answers `{code, message}`, otherwise `{code: <status>, error_code, msg}`;
    older releases know no codes and leave `error_code` out (internal/api/errors.go, apierrors.go).
    Gateways answer `{message}`, without any `code`.
    """
    try:
        body = answer.json()
    except ValueError:
        return None
    code = body.get("error_code") or body.get("code") if isinstance(body, dict) else None
    return shown(code) if code else None


def _refusal(error: supabase.AuthApiError) -> Rejection:
    if error.status >= httpx.codes.INTERNAL_SERVER_ERROR or error.status in _TRANSIENT:
        return unavailable(got=f"status {error.status}")
    # The library keeps the answer itself only as the cause of its error.
    cause = error.__cause__
    code = error_code(cause.response) if isinstance(cause, httpx.HTTPStatusError) else error.code
    if code is None:
        # A gateway that refuses our key says nothing about the token: nobody may be signed out for that.
        got = f"status {error.status} from a gateway"
        return unavailable(RefusalReason.API_KEY, expected="an answer of Supabase Auth", got=got)
    message = "The Auth server does not accept this access token."
    return unauthorized(RefusalReason.REFUSED_BY_AUTH_SERVER, message, got=f"{error.status} {code}")
