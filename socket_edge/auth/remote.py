"""Asks the Auth server about every token, which also sees signed-out sessions and banned users."""

import asyncio
from typing import Final

import httpx
import structlog
import supabase
from supabase.lib.client_options import AsyncClientOptions

from socket_edge.auth.claims import read_header, read_unverified
from socket_edge.auth.errors import AuthError, unauthorized, unavailable
from socket_edge.auth.identity import Identity

ALGORITHMS: Final = frozenset({"ES256", "RS256", "HS256"})
TIMEOUT_S: Final = 5.0

_TRANSIENT: Final = frozenset({408, 425, 429})

_log = structlog.get_logger(__name__)


class RemoteAuthenticator:
    """Accepts what `auth.get_user` of the `supabase` client accepts, if the claims are right as well."""

    def __init__(self, supabase_url: str, supabase_key: str, issuer: str) -> None:
        self._issuer = issuer
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S)
        options = AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=self._http)
        self._auth = supabase.AsyncClient(supabase_url, supabase_key, options).auth

    async def authenticate(self, token: str) -> Identity:
        """Return whom `token` speaks for. Raises AuthError."""
        # Claims first: they cost nothing, and keep tokens that cannot be right away from the server.
        read_header(token, ALGORITHMS)
        identity = read_unverified(token, self._issuer)
        if await self._user_id(token) != identity.user_id:
            raise unauthorized()
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
            _log.warning("auth_server_unreachable", error=type(error).__name__)
            raise unavailable() from error
        return answer.user.id.lower() if answer else None


def _refusal(error: supabase.AuthApiError) -> AuthError:
    # The status and code tell operators of a wrong API key, which looks like a refused token from here.
    _log.info("auth_server_refused", status=error.status, code=error.code)
    if error.status >= httpx.codes.INTERNAL_SERVER_ERROR or error.status in _TRANSIENT:
        return unavailable()
    return unauthorized("The Auth server does not accept this access token.")
