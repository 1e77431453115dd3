"""Chooses how tokens are checked. The configuration decides, never the token."""

from typing import Final

from infra.settings.base import SettingsError
from infra.settings.edge import AuthMode, EdgeSettings
from socket_edge.auth.identity import Authenticator
from socket_edge.auth.jwks import Jwks
from socket_edge.auth.verifier import JwksVerifier, SecretVerifier

_MIN_SECRET_BYTES: Final = 32
"""RFC 7518, section 3.2: an HS256 key is at least as long as the hash."""


def create_authenticator(settings: EdgeSettings) -> Authenticator:
    """Return the configured authenticator. Nothing connects before the first token. Raises SettingsError."""
    if settings.auth_mode is AuthMode.REMOTE:
        return _create_remote(settings)
    if settings.supabase_jwt_secret is None:
        return JwksVerifier(Jwks(settings.jwks_url, settings.jwks_cooldown_s), settings.issuer)
    if len(settings.supabase_jwt_secret.encode()) < _MIN_SECRET_BYTES:
        raise SettingsError(
            f"BBGRAM_SUPABASE_JWT_SECRET is wrong: must have at least {_MIN_SECRET_BYTES} bytes."
        )
    return SecretVerifier(settings.supabase_jwt_secret, settings.issuer)


def _create_remote(settings: EdgeSettings) -> Authenticator:
    if settings.supabase_key is None:
        raise SettingsError("BBGRAM_SUPABASE_KEY is not set. BBGRAM_AUTH_MODE=remote needs it.")
    # Imported here because it is large and the other modes do without it.
    from socket_edge.auth.remote import RemoteAuthenticator

    return RemoteAuthenticator(settings.supabase_url, settings.supabase_key, settings.issuer)
