"""Sign up, sign in, refresh, show the user, sign out.

Answers are the JSON documents of Supabase Auth; errors are SigninError.
"""

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infra.local.signin.accounts import Accounts, Transaction, User
from infra.local.signin.errors import SigninError
from infra.local.signin.keys import load_key
from infra.local.signin.passwords import hash_password, matches
from infra.local.signin.profiles import MakeProfile
from infra.local.signin.tokens import APP_METADATA, AUDIENCE, checked_username, read, sign, signin_folder

Document = dict[str, Any]

TOKEN_TTL_S: Final = 3_600
MIN_PASSWORD_CHARS: Final = 6
READY_MADE: Final = ("alice", "bob")
"""Users who sign in on the chat page with one click."""
SHORT_TTL_S: Final = 20

_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")


class SigninService:
    """The sign-in service of one data folder. Blocking, and safe to call from several threads."""

    def __init__(self, data_dir: Path, issuer: str, make_profile: MakeProfile) -> None:
        folder = signin_folder(data_dir)
        self._accounts = Accounts(folder / "users.sqlite3")
        self._key = load_key(folder)
        self._issuer = issuer
        self._make_profile = make_profile

    def jwks(self) -> Document:
        """Return the public keys."""
        return self._key.jwks()

    def sign_up(self, email: object, password: object, data: object) -> Document:
        """Store a new user, with a chat profile, and start a session."""
        address, secret = _checked_credentials(email, password)
        metadata = data if isinstance(data, dict) else {}
        wanted = metadata.get("username")
        try:
            username = checked_username(address.partition("@")[0] if wanted is None else wanted)
        except ValueError as error:
            raise SigninError(422, "validation_failed", str(error)) from error
        hashed = hash_password(secret)
        with self._accounts.open() as accounts:
            user = accounts.add_user(address, username, hashed, metadata)
            self._make_profile(user)
            return self._session(accounts, user, accounts.add_session(user))

    def sign_in(self, email: object, password: object) -> Document:
        """Check a password and start a session."""
        with self._accounts.open() as accounts:
            user = accounts.user_by_email(email.strip().lower()) if isinstance(email, str) else None
        hashed = user.password if user else None
        if user is None or hashed is None or not isinstance(password, str) or not matches(password, hashed):
            raise SigninError(400, "invalid_credentials", "Invalid login credentials")
        with self._accounts.open() as accounts:
            return self._session(accounts, user, accounts.add_session(user))

    def sign_in_ready_made(self, username: str) -> Document:
        """Start a session of a ready-made user, without a password. Creates all of them if needed."""
        if username not in READY_MADE:
            raise SigninError(404, "user_not_found", "There is no ready-made user with this name")
        with self._accounts.open() as accounts:
            users = {name: accounts.ensure_user(name) for name in READY_MADE}
            for user in users.values():
                self._make_profile(user)
            return self._session(accounts, users[username], accounts.add_session(users[username]))

    def short_lived(self, token: str) -> Document:
        """Return an access token of the same session that expires soon."""
        user, session_id = self._authenticated(token)
        return {"access_token": sign(self._key, self._issuer, user, session_id, SHORT_TTL_S)}

    def refresh(self, refresh_token: object) -> Document:
        """Exchange a refresh token, which works once, for new tokens of the same session."""
        if not isinstance(refresh_token, str) or not refresh_token:
            raise SigninError(400, "validation_failed", "refresh_token required")
        with self._accounts.open() as accounts:
            user, session_id = accounts.use_refresh_token(refresh_token)
            return self._session(accounts, user, session_id)

    def user(self, token: str) -> Document:
        """Return the user of an access token whose session has not ended."""
        user, _ = self._authenticated(token)
        return _user_document(user)

    def sign_out(self, token: str, scope: str) -> None:
        """End sessions of the user of an access token: `global`, `local` or `others`."""
        if scope not in ("global", "local", "others"):
            raise SigninError(400, "validation_failed", f"Unsupported logout scope {scope!r}")
        user, session_id = self._authenticated(token)
        with self._accounts.open() as accounts:
            accounts.end_sessions(user.id, session_id, scope)

    def _authenticated(self, token: str) -> tuple[User, str]:
        claims = read(self._key, self._issuer, token)
        with self._accounts.open() as accounts:
            user = accounts.user(claims["sub"])
            if user is None:
                raise SigninError(403, "user_not_found", "User from sub claim in JWT does not exist")
            if not accounts.has_session(claims["session_id"]):
                raise SigninError(
                    403, "session_not_found", "Session from session_id claim in JWT does not exist"
                )
        return user, claims["session_id"]

    def _session(self, accounts: Transaction, user: User, session_id: str) -> Document:
        return {
            "access_token": sign(self._key, self._issuer, user, session_id, TOKEN_TTL_S),
            "token_type": "bearer",
            "expires_in": TOKEN_TTL_S,
            "expires_at": int(time.time()) + TOKEN_TTL_S,
            "refresh_token": accounts.add_refresh_token(session_id),
            "user": _user_document(user),
        }


def _checked_credentials(email: object, password: object) -> tuple[str, str]:
    if not email:
        raise SigninError(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
    address = email.strip().lower() if isinstance(email, str) else ""
    if not _EMAIL.fullmatch(address):
        raise SigninError(400, "validation_failed", "Unable to validate email address: invalid format")
    if not isinstance(password, str) or not password:
        raise SigninError(400, "validation_failed", "Signup requires a valid password")
    if len(password) < MIN_PASSWORD_CHARS:
        message = f"Password should be at least {MIN_PASSWORD_CHARS} characters."
        raise SigninError(
            422, "weak_password", message, weak_password={"message": message, "reasons": ["length"]}
        )
    return address, password


def _user_document(user: User) -> Document:
    since = datetime.fromtimestamp(user.created_at, UTC).isoformat().replace("+00:00", "Z")
    times = {"created_at": since, "updated_at": since, "last_sign_in_at": since}
    identity = {
        "identity_id": user.id,
        "id": user.id,
        "user_id": user.id,
        "identity_data": {**user.metadata, "sub": user.id},
        "provider": "email",
        "email": user.email,
        **times,
    }
    return {
        "id": user.id,
        "aud": AUDIENCE,
        "role": "authenticated",
        "email": user.email,
        "email_confirmed_at": since,
        "confirmed_at": since,
        "phone": "",
        "app_metadata": APP_METADATA,
        "user_metadata": user.metadata,
        "identities": [identity],
        "is_anonymous": False,
        **times,
    }
