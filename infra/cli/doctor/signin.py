"""Checks that the edge can verify tokens, and whether it accepts a real one. No token is ever printed."""

import asyncio
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from infra.cli.doctor.finding import Finding, finding
from infra.logs import printable, shown
from infra.outage import reason
from infra.settings.edge import AuthMode, EdgeSettings
from infra.wire.errors import Rejection

if TYPE_CHECKING:
    import httpx

    from socket_edge.auth import Identity

_TIMEOUT_S: Final = 5.0
_SUBJECT: Final = "sign-in"
_ASK_WITH_A_TOKEN: Final = "only a real token shows whether it is correct: `bbgram doctor --token -`"
_WRONG_KEY: Final = (
    "set BBGRAM_SUPABASE_KEY to the publishable (anon) key of this project, or correct BBGRAM_SUPABASE_URL"
)

_ADVICE: Final = {
    "malformed": "pass one access token (`access_token` of the session), nothing else",
    "too_long": "keep large data out of the user's metadata and the custom access token hook",
    "algorithm": "for HS256 set BBGRAM_SUPABASE_JWT_SECRET; otherwise use ES256 or RS256",
    "signature": "for HS256 correct BBGRAM_SUPABASE_JWT_SECRET; otherwise correct BBGRAM_JWKS_URL",
    "unknown_key": "correct BBGRAM_JWKS_URL, unless the token is another project's or its key is revoked",
    "weak_key": "use an RSA key of at least 2048 bits",
    "missing_claim": "if Supabase Auth leaves out `iss`, add `missing` to BBGRAM_JWT_ISSUER",
    "not_yet_valid": "synchronise the clocks, or raise BBGRAM_CLOCK_SKEW_S",
    "expired": "pass a fresh token; if it is fresh, correct this machine's clock",
    "issuer": "add the `iss` of the token to BBGRAM_JWT_ISSUER, if it is this project's",
    "audience": "add the `aud` of the token to BBGRAM_JWT_AUDIENCE, if it is meant for the chat",
    "subject": "pass the token of a user: this one names no user",
    "role": "pass the token of a signed-in user, not an API key",
    "anonymous": "set BBGRAM_ALLOW_ANONYMOUS=true, if anonymous users may chat",
    "one_factor": "sign in with a second factor, or set BBGRAM_REQUIRE_AAL=aal1",
    "refused_by_auth_server": "pass the token of a user who exists, is signed in and is not banned",
    "api_key": _WRONG_KEY,
    "keys_unavailable": "start the sign-in service, or correct BBGRAM_SUPABASE_URL or BBGRAM_JWKS_URL",
    "unavailable": "start the sign-in service, or correct BBGRAM_SUPABASE_URL",
}
"""What to do when a token fails a check, by the value of its `RefusalReason`; the edge is imported lazily."""


def signin_finding(settings: EdgeSettings, token: str | None = None) -> Finding:
    """Check that the edge can verify tokens; with a token, that it accepts this one."""

    def ask() -> Finding:
        return _services(settings) if token is None else _token(settings, token)

    what = f"the sign-in service at {settings.supabase_url}"
    return finding(_SUBJECT, "start the sign-in service, or correct BBGRAM_SUPABASE_URL", ask, what)


def _token(settings: EdgeSettings, token: str) -> Finding:
    from socket_edge.auth.refusal_log import explain

    try:
        identity = asyncio.run(_authenticate(settings, token))
    except Rejection as rejection:
        check, expected, got = explain(rejection)
        differs = f": expected {expected or 'a valid token'}, got {got}" if got is not None else ""
        return Finding(_SUBJECT, f"the token fails the check `{check}`{differs}", _ADVICE[check])
    until = datetime.fromtimestamp(identity.expires_at, UTC).isoformat().replace("+00:00", "Z")
    return Finding(_SUBJECT, f"the token is that of user {identity.user_id}, valid until {until}")


async def _authenticate(settings: EdgeSettings, token: str) -> "Identity":
    from socket_edge.auth import create_authenticator

    authenticator = create_authenticator(settings)
    try:
        return await authenticator.authenticate(token)
    finally:
        await authenticator.aclose()


def _services(settings: EdgeSettings) -> Finding:
    found = _verifies_with(settings)
    issuer = _other_issuer(settings) if found.advice is None else None
    if issuer is None:
        return found
    state = f"the project's tokens have the `iss` {issuer}, but {settings.jwt_issuer[0]} is expected"
    return Finding(_SUBJECT, state, f"set BBGRAM_JWT_ISSUER={issuer}")


def _other_issuer(settings: EdgeSettings) -> str | None:
    """Return the project's issuer if it is not the default one.

    Checked only if JWT_ISSUER is not set. Supabase Auth has published its issuer since October 2025
    (internal/api/jwks.go: WellKnownOpenID).
    """
    import httpx

    if "jwt_issuer" in settings.model_fields_set:
        return None
    try:
        url = f"{settings.auth_url}/.well-known/openid-configuration"
        headers = {"apikey": settings.supabase_key or ""}
        issuer = httpx.get(url, headers=headers, timeout=_TIMEOUT_S).raise_for_status().json()["issuer"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
    is_other = isinstance(issuer, str) and issuer and issuer not in settings.jwt_issuer
    return shown(issuer) if is_other else None


def _verifies_with(settings: EdgeSettings) -> Finding:
    if settings.auth_mode is AuthMode.REMOTE:
        return _auth_server(settings)
    if settings.supabase_jwt_secret is None:
        keys = _published(settings)
        advice = None if keys else "create a signing key in the project, or set BBGRAM_SUPABASE_JWT_SECRET"
        return Finding(_SUBJECT, f"{_keys(keys)} at {settings.jwks_url}", advice)
    secret = f"a shared secret is set, {_ASK_WITH_A_TOKEN}"
    try:
        return Finding(_SUBJECT, f"{secret}; {_keys(_published(settings))} at {settings.jwks_url}")
    except Exception as error:  # projects that use only the secret may have no such endpoint
        return Finding(_SUBJECT, f"{secret}; no keys at {settings.jwks_url} ({reason(error)})")


def _keys(count: int) -> str:
    return "1 key is published" if count == 1 else f"{count or 'no'} keys are published"


def _published(settings: EdgeSettings) -> int:
    """Return how many published keys can verify tokens. Raises if they cannot be read."""
    import httpx

    from socket_edge.auth.jwks import usable_keys

    return len(usable_keys(httpx.get(settings.jwks_url, timeout=_TIMEOUT_S).raise_for_status().content))


def _auth_server(settings: EdgeSettings) -> Finding:
    """Send Supabase Auth a token that cannot be valid.

    Only Supabase Auth refuses it with its own error code; a gateway does not.
    """
    import httpx
    import jwt

    from socket_edge.auth.remote import error_code

    bearer = jwt.encode({"sub": "bbgram doctor"}, token_hex(), "HS256")
    headers = {"apikey": settings.supabase_key or "", "Authorization": f"Bearer {bearer}"}
    answer = httpx.get(f"{settings.auth_url}/user", headers=headers, timeout=_TIMEOUT_S)
    if answer.is_client_error and error_code(answer):
        return Finding(_SUBJECT, f"the Auth server answers at {settings.auth_url}")
    if answer.is_server_error:
        answer.raise_for_status()
    state = f"{settings.auth_url} answers {answer.status_code}, but not as Supabase Auth does{_said(answer)}"
    return Finding(_SUBJECT, state, _WRONG_KEY)


def _said(answer: "httpx.Response") -> str:
    """Return what a gateway says about the request, if it says anything."""
    try:
        message = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {printable(str(message)[:200])}"
