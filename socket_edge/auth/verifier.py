"""Verifies tokens at the edge: with the keys that the project publishes, or with its legacy secret."""

from typing import Final

from socket_edge.auth.claims import read_header, verify
from socket_edge.auth.identity import Identity
from socket_edge.auth.jwks import ALGORITHMS, Jwks
from socket_edge.auth.rejections import unauthorized

_HS256: Final = "HS256"


class JwksVerifier:
    """Accepts tokens signed with a published key of the project. The key decides the algorithm."""

    def __init__(self, jwks: Jwks, issuer: str) -> None:
        self._jwks = jwks
        self._issuer = issuer

    async def authenticate(self, token: str) -> Identity:
        """Return the user of `token`. Raises Rejection."""
        kid = read_header(token, ALGORITHMS).get("kid")
        if kid is None:
            raise unauthorized("The access token does not name its key.")
        key = await self._jwks.key(kid)
        return verify(token, key, key.algorithm_name, self._issuer)

    async def aclose(self) -> None:
        """Close the connections to the key endpoint."""
        await self._jwks.aclose()


class SecretVerifier:
    """Accepts tokens signed with the legacy shared secret (HS256), and no others."""

    def __init__(self, secret: str, issuer: str) -> None:
        self._secret = secret
        self._issuer = issuer

    async def authenticate(self, token: str) -> Identity:
        """Return the user of `token`. Raises Rejection."""
        read_header(token, frozenset({_HS256}))
        return verify(token, self._secret, _HS256, self._issuer)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""
