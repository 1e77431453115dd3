"""Chooses how tokens are checked. The configuration decides, never the token."""

from infra.settings.edge import AuthMode, EdgeSettings
from socket_edge.auth.claims import ClaimRules
from socket_edge.auth.identity import Authenticator
from socket_edge.auth.jwks import Jwks
from socket_edge.auth.verifier import TokenVerifier


def create_authenticator(settings: EdgeSettings) -> Authenticator:
    """Return the configured authenticator. Nothing connects before the first token."""
    rules = ClaimRules.of(settings)
    if settings.auth_mode is AuthMode.REMOTE and settings.supabase_key:
        # Imported here because it is large and the other mode does without it.
        from socket_edge.auth.remote import RemoteAuthenticator

        return RemoteAuthenticator(settings.supabase_url, settings.supabase_key, rules)
    jwks = Jwks(settings.jwks_url, settings.jwks_cooldown_s)
    return TokenVerifier(jwks, rules, settings.supabase_jwt_secret)
