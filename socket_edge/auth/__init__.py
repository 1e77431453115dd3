"""Who is at the other end of a socket: verifies the access tokens that Supabase Auth issues."""

from socket_edge.auth.errors import AuthError
from socket_edge.auth.factory import create_authenticator
from socket_edge.auth.identity import Authenticator, Identity

__all__ = ["AuthError", "Authenticator", "Identity", "create_authenticator"]
