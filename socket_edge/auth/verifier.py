"""Verifies tokens at the edge: with the keys that the project publishes, and with its legacy secret."""

from typing import Final

from socket_edge.auth.claims import ClaimRules, read_claims, read_token, verify
from socket_edge.auth.identity import Identity
from socket_edge.auth.jwks import ALGORITHMS, Jwks
from socket_edge.auth.jws import Key
from socket_edge.auth.rejections import RefusalReason, unauthorized

HS256: Final = "HS256"


class TokenVerifier:
    """Accepts tokens signed with a published key, and with the legacy secret (HS256) if there is one.

    Both at once: while a project moves from one to the other, its users hold tokens of either kind.
    """

    def __init__(self, jwks: Jwks, rules: ClaimRules, secret: str | None = None) -> None:
        self._jwks = jwks
        self._rules = rules
        self._secret = Key(HS256, secret) if secret else None
        self._algorithms = ALGORITHMS | {HS256} if secret else ALGORITHMS

    async def authenticate(self, token: str) -> Identity:
        """Return the user of `token`. Raises Rejection."""
        jws = read_token(token, self._algorithms)
        claims = read_claims(jws)
        # Each algorithm has its own kind of key: a public key is never taken for a shared secret.
        if jws.header["alg"] == HS256 and self._secret:
            return verify(jws, self._secret, claims, self._rules)
        kid = jws.header.get("kid")
        if kid is None:
            message = "The access token does not name its key."
            raise unauthorized(RefusalReason.UNKNOWN_KEY, message, expected="kid", got="no kid")
        return verify(jws, await self._jwks.key(kid), claims, self._rules)

    async def aclose(self) -> None:
        """Close the connections to the key endpoint."""
        await self._jwks.aclose()
