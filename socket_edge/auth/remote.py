"""Asks the Auth server about every token, so that ended sessions and banned users are refused too."""

import asyncio
from typing import Final

import httpx
import structlog
import supabase
from supabase.lib.client_options import AsyncClientOptions

from infra.wire.errors import Rejection
from socket_edge.auth.claims import read_header, read_unverified
from socket_edge.auth.identity import Identity
from socket_edge.auth.rejections import unauthorized, unavailable

ALGORITHMS: Final = frozenset({"ES256", "RS256", "HS256"})
TIMEOUT_S: Final = 5.0

_TRANSIENT: Final = frozenset({408, 425, 429})

_log = structlog.get_logger(__name__)


class RemoteAuthenticator:
    """Accepts tokens that `auth.get_user` of the `supabase` client accepts and whose claims are valid."""

    def __init__(self, supabase_url: str, supabase_key: str, issuer: str) -> None:
        self._issuer = issuer
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S)
        options = AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=self._http)
        self._auth = supabase.AsyncClient(supabase_url, supabase_key, options).auth

    async def authenticate(self, token: str) -> Identity:
        """Return the user of `token`. Raises Rejection."""
        # Claims first: checking them is cheap, and spares the server tokens that cannot be valid.
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


def _refusal(error: supabase.AuthApiError) -> Rejection:
    # From here a wrong API key looks like a refused token; status and code tell operators which it is.
    _log.info("auth_server_refused", status=error.status, code=error.code)
    if error.status >= httpx.codes.INTERNAL_SERVER_ERROR or error.status in _TRANSIENT:
        return unavailable()
    return unauthorized("The Auth server does not accept this access token.")
