"""Verifies tokens at the edge: with the keys that the project publishes, and with its legacy secret."""

from typing import Final

from socket_edge.auth.claims import ClaimRules, read_header, verify
from socket_edge.auth.identity import Identity
from socket_edge.auth.jwks import ALGORITHMS, Jwks
from socket_edge.auth.rejections import RefusalReason, unauthorized

HS256: Final = "HS256"


class TokenVerifier:
    """Accepts tokens signed with a published key, and with the legacy secret (HS256) if there is one.

    Both at once: while a project moves from one to the other, its users hold tokens of either kind.
    """

    def __init__(self, jwks: Jwks, rules: ClaimRules, secret: str | None = None) -> None:
        self._jwks = jwks
        self._rules = rules
        self._secret = secret
        self._algorithms = ALGORITHMS | {HS256} if secret else ALGORITHMS

    async def authenticate(self, token: str) -> Identity:
        """Return the user of `token`. Raises Rejection."""
        header = read_header(token, self._algorithms)
        # Each algorithm has its own kind of key: a public key is never taken for a shared secret.
        if header["alg"] == HS256 and self._secret:
            return verify(token, self._secret, HS256, self._rules)
        kid = header.get("kid")
        if kid is None:
            message = "The access token does not name its key."
            raise unauthorized(RefusalReason.UNKNOWN_KEY, message, expected="kid", got="no kid")
        key = await self._jwks.key(kid)
        # The key decides the algorithm, not the token.
        return verify(token, key, key.algorithm_name, self._rules)

    async def aclose(self) -> None:
        """Close the connections to the key endpoint."""
        await self._jwks.aclose()
