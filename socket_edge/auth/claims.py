"""Reads access tokens: the header, which names a key, and the claims that Supabase issues."""

from typing import Any, Final
from uuid import UUID

import jwt
from jwt.exceptions import InvalidSubjectError
from jwt.types import Options

from infra.wire.errors import ErrorCode, Rejection
from socket_edge.auth.identity import Identity
from socket_edge.auth.rejections import unauthorized

MAX_TOKEN_CHARS: Final = 16_384
"""Longer tokens are refused before any part of them is parsed."""

AUDIENCE: Final = "authenticated"
ROLE: Final = "authenticated"

_LAST_SECOND: Final = 253_402_300_799
"""The last second of the year 9999, the last that `datetime` knows."""

# All are listed because PyJWT, by default, skips every claim check when it skips the signature check.
# `iat` proves nothing, and checking it would refuse fresh tokens when the Auth server's clock is ahead.
_OPTIONS: Final[Options] = {
    "require": ["exp", "aud", "iss", "sub"],
    "verify_exp": True,
    "verify_nbf": True,
    "verify_aud": True,
    "verify_iss": True,
    "verify_sub": True,
    "verify_iat": False,
    "enforce_minimum_key_length": True,
}

_MALFORMED: Final = "The access token is malformed."

_REFUSALS: Final[dict[type[Exception], str]] = {
    jwt.InvalidSignatureError: "The signature of the access token is not valid.",
    jwt.InvalidAlgorithmError: "The access token is signed with an algorithm that is not allowed.",
    jwt.InvalidAudienceError: "The access token is meant for another audience.",
    jwt.InvalidIssuerError: "The access token comes from another issuer.",
    InvalidSubjectError: "The access token names no user.",
    jwt.ImmatureSignatureError: "The access token is not valid yet.",
    jwt.MissingRequiredClaimError: "The access token lacks a claim: exp, aud, iss and sub are required.",
    jwt.InvalidKeyError: "The access token is signed with a key that is too weak.",
}


def read_header(token: str, algorithms: frozenset[str]) -> dict[str, Any]:
    """Return the unverified header of a token signed with one of `algorithms`. Raises Rejection."""
    if not isinstance(token, str) or not token:
        raise unauthorized("An access token is required.")
    if len(token) > MAX_TOKEN_CHARS:
        raise unauthorized("The access token is too long.")
    try:
        # Pass the header alone: PyJWT would decode the rest only to drop it.
        header = jwt.get_unverified_header(token.partition(".")[0] + "..")
    except (jwt.PyJWTError, ValueError) as error:
        raise unauthorized(_MALFORMED) from error
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise unauthorized(_REFUSALS[jwt.InvalidAlgorithmError])
    return header


def verify(token: str, key: jwt.PyJWK | str, algorithm: str, issuer: str) -> Identity:
    """Check signature and claims of a token. Raises Rejection."""
    return _identity(_decode(token, issuer, key=key, algorithms=[algorithm]))


def read_unverified(token: str, issuer: str) -> Identity:
    """Check only the claims of a token whose signature the Auth server checks. Raises Rejection."""
    return _identity(_decode(token, issuer, verify_signature=False))


def _decode(token: str, issuer: str, *, verify_signature: bool = True, **key: Any) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            audience=AUDIENCE,
            issuer=issuer,
            options={**_OPTIONS, "verify_signature": verify_signature},
            **key,
        )
    except jwt.ExpiredSignatureError as error:
        raise Rejection(ErrorCode.TOKEN_EXPIRED) from error
    except (jwt.PyJWTError, ValueError) as error:
        raise unauthorized(_REFUSALS.get(type(error), _MALFORMED)) from error


def _identity(claims: dict[str, Any]) -> Identity:
    if claims.get("role") != ROLE:
        raise unauthorized("The access token is not one of a signed-in user.")
    expires_at = int(claims["exp"])
    if expires_at > _LAST_SECOND:
        raise unauthorized(_MALFORMED)
    metadata = claims.get("user_metadata")
    username = metadata.get("username") if isinstance(metadata, dict) else None
    issued_at = claims.get("iat")
    return Identity(
        user_id=_canonical_uuid(claims["sub"]),
        expires_at=expires_at,
        issued_at=issued_at if isinstance(issued_at, int | float) and 0 < issued_at < _LAST_SECOND else None,
        username=username if isinstance(username, str) and _is_unicode(username) else None,
    )


def _is_unicode(text: str) -> bool:
    """Tell whether a text from JSON can be encoded: it has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _canonical_uuid(text: str) -> str:
    try:
        canonical = str(UUID(text))
    except ValueError as error:
        raise unauthorized(_REFUSALS[InvalidSubjectError]) from error
    # UUID() also accepts braces, URNs and missing hyphens, which Supabase never writes.
    if canonical != text.lower():
        raise unauthorized(_REFUSALS[InvalidSubjectError])
    return canonical
