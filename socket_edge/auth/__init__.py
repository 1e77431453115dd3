"""Verifies the access tokens that Supabase Auth issues."""

from socket_edge.auth.factory import create_authenticator
from socket_edge.auth.identity import Authenticator, Identity

__all__ = ["Authenticator", "Identity", "create_authenticator"]
