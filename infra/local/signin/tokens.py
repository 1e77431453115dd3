"""Access tokens with the claims of Supabase Auth, and a shortcut that issues one without a password."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt

from infra.local.signin.accounts import Accounts, User
from infra.local.signin.errors import SigninError
from infra.local.signin.keys import ALGORITHM, SigningKey, load_key
from infra.local.signin.profiles import profile_maker
from infra.local.signin.settings import SigninSettings
from infra.store.profiles import MAX_USERNAME, is_username

AUDIENCE: Final = "authenticated"
APP_METADATA: Final = {"provider": "email", "providers": ["email"]}


@dataclass(frozen=True)
class IssuedToken:
    """A token that was issued directly, and its user."""

    user_id: str
    token: str


def issue(data_dir: Path, issuer: str, username: str, ttl_s: int) -> IssuedToken:
    """Sign a token for `username`, who is created if needed. `data_dir` is that of the local stack.

    Raises ValueError for a time to live below a second or an invalid name, SigninError if the user cannot
    be stored.
    """
    if ttl_s < 1:
        raise ValueError(f"a token must live for at least 1 second, not {ttl_s}")
    username = checked_username(username)
    make_profile = profile_maker(SigninSettings.load(data_dir))
    folder = signin_folder(data_dir)
    with Accounts(folder / "users.sqlite3").open() as accounts:
        user = accounts.ensure_user(username)
        make_profile(user)
        session_id = accounts.add_session(user)
    return IssuedToken(user.id, sign(load_key(folder), issuer, user, session_id, ttl_s))


def sign(key: SigningKey, issuer: str, user: User, session_id: str, ttl_s: int) -> str:
    """Return an access token of the session.

    The claims are those of https://supabase.com/docs/guides/auth/jwt-fields
    """
    now = int(time.time())
    claims = {
        "iss": issuer,
        "sub": user.id,
        "aud": AUDIENCE,
        "role": "authenticated",
        "iat": now,
        "exp": now + ttl_s,
        "email": user.email,
        "phone": "",
        "app_metadata": APP_METADATA,
        "user_metadata": user.metadata,
        "session_id": session_id,
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": now}],
        "is_anonymous": False,
    }
    return jwt.encode(claims, key.private, ALGORITHM, headers={"kid": key.kid})


def read(key: SigningKey, issuer: str, token: str) -> dict[str, Any]:
    """Return the claims of a token that this service signed. Raises SigninError."""
    try:
        return jwt.decode(
            token, key.private.public_key(), algorithms=[ALGORITHM], audience=AUDIENCE, issuer=issuer
        )
    except (jwt.PyJWTError, ValueError) as error:
        raise SigninError(403, "bad_jwt", f"invalid JWT: {error}") from error


def checked_username(username: object) -> str:
    """Return the name without surrounding spaces. Raises ValueError if it is invalid."""
    name = username.strip() if isinstance(username, str) else ""
    if not is_username(name):
        raise ValueError(f"a username must have 1 to {MAX_USERNAME} printable characters")
    return name


def signin_folder(data_dir: Path) -> Path:
    """Return the folder of keys and users, created if needed; only its owner can read it."""
    folder = data_dir / "signin"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
