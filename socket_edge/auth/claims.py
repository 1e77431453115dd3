"""Reads access tokens: the header, which names a key, and the claims that Supabase issues."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Self

import jwt
from jwt.types import Options

from infra.logs import shown
from infra.settings.edge import MISSING, AssuranceLevel, EdgeSettings
from socket_edge.auth.identity import Identity
from socket_edge.auth.rejections import RefusalReason, TokenRejection, expired, unauthorized

MAX_TOKEN_CHARS: Final = 16_384
"""Longer tokens are refused before any part of them is parsed."""

ROLE: Final = "authenticated"

_LAST_SECOND: Final = 253_402_300_799
"""The last second of the year 9999, the last that `datetime` knows."""

# PyJWT checks the signature only: it has one leeway for all times, and does not report the value of a claim.
_OPTIONS: Final[Options] = {
    "require": [],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_iat": False,
    "verify_jti": False,
    "enforce_minimum_key_length": True,
}

# `uuid.UUID` takes four times as long, and also accepts what Supabase never writes, such as braces and URNs.
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_ALWAYS: Final = ("exp", "aud", "sub")
"""Claims that every token must have."""
_NOTHING: Final[tuple[object, ...]] = (None, "", [])
"""A claim with one of these values counts as missing."""

_MALFORMED: Final = "The access token is malformed."
_ALGORITHM: Final = "The access token is signed with an algorithm that is not allowed."

_REFUSALS: Final[dict[type[Exception], tuple[RefusalReason, str]]] = {
    jwt.InvalidSignatureError: (RefusalReason.SIGNATURE, "The signature of the access token is not valid."),
    jwt.InvalidAlgorithmError: (RefusalReason.ALGORITHM, _ALGORITHM),
    jwt.InvalidKeyError: (RefusalReason.WEAK_KEY, "The access token is signed with a key that is too weak."),
}


@dataclass(frozen=True)
class ClaimRules:
    """What the claims of a token must say."""

    issuers: frozenset[str]
    audiences: frozenset[str] = frozenset({"authenticated"})
    accepts_missing_issuer: bool = False
    clock_skew_s: float = 10.0
    allows_anonymous: bool = True
    requires_second_factor: bool = False

    @classmethod
    def of(cls, settings: EdgeSettings) -> Self:
        """Return the rules in the settings."""
        return cls(
            issuers=frozenset(settings.jwt_issuer) - {MISSING},
            audiences=frozenset(settings.jwt_audience),
            accepts_missing_issuer=MISSING in settings.jwt_issuer,
            clock_skew_s=settings.clock_skew_s,
            allows_anonymous=settings.allow_anonymous,
            requires_second_factor=settings.require_aal is AssuranceLevel.TWO_FACTORS,
        )


def read_header(token: str, algorithms: frozenset[str]) -> dict[str, Any]:
    """Return the unverified header of a token signed with one of `algorithms`. Raises Rejection."""
    if not isinstance(token, str) or not token:
        raise unauthorized(
            RefusalReason.MALFORMED, "An access token is required.", expected="a token", got="none"
        )
    if len(token) > MAX_TOKEN_CHARS:
        limit = f"at most {MAX_TOKEN_CHARS} characters"
        raise unauthorized(
            RefusalReason.TOO_LONG,
            "The access token is too long.",
            expected=limit,
            got=f"{len(token)} characters",
        )
    try:
        header = _header(token.partition(".")[0])
    except (jwt.PyJWTError, ValueError) as error:
        raise _malformed("a JSON Web Token") from error
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise unauthorized(
            RefusalReason.ALGORITHM, _ALGORITHM, expected=_any_of(algorithms), got=shown(algorithm)
        )
    return header


@lru_cache(maxsize=64)
def _header(part: str) -> dict[str, Any]:
    """Return a header, which nobody may change: the tokens of a project have as many as it has keys."""
    # Pass the header alone: PyJWT would decode the rest only to drop it.
    return jwt.get_unverified_header(part + "..")


def verify(token: str, key: jwt.PyJWK | str, algorithm: str, rules: ClaimRules) -> Identity:
    """Check signature and claims of a token. Raises Rejection."""
    return _identity(_decode(token, key=key, algorithms=[algorithm]), rules)


def read_unverified(token: str, rules: ClaimRules) -> Identity:
    """Check only the claims of a token whose signature the Auth server checks. Raises Rejection."""
    return _identity(_decode(token, verify_signature=False), rules)


def _decode(token: str, *, verify_signature: bool = True, **key: Any) -> dict[str, Any]:
    try:
        return jwt.decode(token, options={**_OPTIONS, "verify_signature": verify_signature}, **key)
    except (jwt.PyJWTError, ValueError) as error:
        reason, message = _REFUSALS.get(type(error), (RefusalReason.MALFORMED, _MALFORMED))
        header = _header(token.partition(".")[0])
        got = f"{shown(header.get('alg'))}, kid {shown(header.get('kid'))}"
        raise unauthorized(reason, message, expected=_algorithms(key), got=got) from error


def _algorithms(key: dict[str, Any]) -> str:
    return f"a valid {_any_of(key['algorithms'])} token" if key else "a valid token"


def _identity(claims: dict[str, Any], rules: ClaimRules) -> Identity:
    # The order matters: a token that fails several checks is refused for the first.
    _check_presence(claims, rules)
    _check_times(claims, rules)
    _check_origin(claims, rules)
    user_id = _canonical_uuid(claims["sub"])
    _check_user(claims, rules)
    metadata = claims.get("user_metadata")
    username = metadata.get("username") if isinstance(metadata, dict) else None
    return Identity(
        user_id=user_id,
        expires_at=_seconds(claims, "exp"),
        issued_at=_issued_at(claims),
        username=username if isinstance(username, str) and _is_unicode(username) else None,
    )


def _check_presence(claims: dict[str, Any], rules: ClaimRules) -> None:
    required = _ALWAYS if rules.accepts_missing_issuer else (*_ALWAYS, "iss")
    missing = [name for name in required if claims.get(name) in _NOTHING]
    if missing:
        raise unauthorized(
            RefusalReason.MISSING_CLAIM,
            "The access token lacks a claim: exp, aud, iss and sub are required.",
            expected=", ".join(required),
            got=f"no {', '.join(missing)}",
        )


def _check_times(claims: dict[str, Any], rules: ClaimRules) -> None:
    now = time.time()
    if claims.get("nbf") is not None:
        not_before = _seconds(claims, "nbf")
        if not_before > now + rules.clock_skew_s:
            raise unauthorized(
                RefusalReason.NOT_YET_VALID,
                "The access token is not valid yet.",
                expected=f"nbf at most {rules.clock_skew_s:g} s after {_iso(now)}",
                got=_iso(not_before),
            )
    expires_at = _seconds(claims, "exp")
    if expires_at <= now:
        raise expired(expected=f"exp after {_iso(now)}", got=_iso(expires_at))


def _check_origin(claims: dict[str, Any], rules: ClaimRules) -> None:
    issuer = claims.get("iss")
    if issuer not in _NOTHING and not (isinstance(issuer, str) and issuer in rules.issuers):
        raise unauthorized(
            RefusalReason.ISSUER,
            "The access token comes from another issuer.",
            expected=_any_of(rules.issuers) or "no iss",
            got=shown(issuer),
        )
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if not any(isinstance(one, str) and one in rules.audiences for one in audience):
        raise unauthorized(
            RefusalReason.AUDIENCE,
            "The access token is meant for another audience.",
            expected=_any_of(rules.audiences),
            got=shown(claims["aud"]),
        )


def _check_user(claims: dict[str, Any], rules: ClaimRules) -> None:
    if claims.get("role") != ROLE:
        message = "The access token is not one of a signed-in user."
        raise unauthorized(RefusalReason.ROLE, message, expected=ROLE, got=shown(claims.get("role")))
    if not rules.allows_anonymous and claims.get("is_anonymous", False) is not False:
        raise unauthorized(
            RefusalReason.ANONYMOUS,
            "Anonymous users may not chat: sign in with an account.",
            expected="is_anonymous false",
            got=shown(claims["is_anonymous"]),
        )
    # Supabase Auth knows aal3 as well, but issues no token with it yet (internal/models/factor.go).
    if rules.requires_second_factor and claims.get("aal") not in ("aal2", "aal3"):
        raise unauthorized(
            RefusalReason.ONE_FACTOR,
            "A second factor is required: verify one and sign in again.",
            expected="aal2",
            got=shown(claims.get("aal")),
        )


def _seconds(claims: dict[str, Any], name: str) -> int:
    """Return a claim that is a time. Raises Rejection if it is not a time that `datetime` can hold."""
    try:
        seconds = int(claims[name])
    except (ValueError, TypeError, OverflowError) as error:
        raise _malformed(f"{name} in seconds since the epoch", shown(claims[name])) from error
    if seconds > _LAST_SECOND:
        raise _malformed(f"{name} in seconds since the epoch", shown(claims[name]))
    return seconds


def _malformed(expected: str, got: str | None = None) -> TokenRejection:
    return unauthorized(RefusalReason.MALFORMED, _MALFORMED, expected=expected, got=got)


def _issued_at(claims: dict[str, Any]) -> float | None:
    seconds = claims.get("iat")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= _LAST_SECOND:
        return seconds
    return None


def _is_unicode(text: str) -> bool:
    """Tell whether a text from JSON can be encoded: it has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _canonical_uuid(subject: object) -> str:
    if isinstance(subject, str) and _UUID.fullmatch(subject):
        return subject.lower()
    message = "The access token names no user."
    raise unauthorized(RefusalReason.SUBJECT, message, expected="sub with a UUID", got=shown(subject))


def _any_of(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(max(seconds, 0), UTC).isoformat(timespec="seconds")
