"""Users, sessions and refresh tokens in one SQLite file, which several processes can share."""

import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from infra.errors import CommandError
from infra.local.signin.errors import SigninError
from infra.store.profiles import username_key

_BUSY_TIMEOUT_S: Final = 10.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    username_key TEXT NOT NULL UNIQUE,
    password TEXT,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE
) STRICT;
CREATE TABLE IF NOT EXISTS refresh_tokens (
    hash TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    used INTEGER NOT NULL DEFAULT 0
) STRICT;
"""


@dataclass(frozen=True)
class User:
    """A user who has signed up. `password` is a hash, or None if they cannot sign in with a password."""

    id: str
    email: str
    password: str | None
    metadata: dict[str, Any]
    created_at: int

    @property
    def username(self) -> str:
        """The name in the chat, as the user spells it."""
        return str(self.metadata["username"])


class Accounts:
    """The database of the sign-in service. `Accounts(path).open()` is one transaction."""

    def __init__(self, path: Path) -> None:
        """Open the file, or create it. Raises CommandError if it is damaged, or cannot be used."""
        self._path = path
        try:
            with self._connect() as conn:
                conn.executescript(_SCHEMA)
                # Pages that nothing has read yet may be damaged, too.
                (found,) = conn.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        except sqlite3.OperationalError as error:  # it is locked, or no file, or the disk is full
            raise CommandError(f"{path} cannot be used ({error})") from error
        except sqlite3.DatabaseError as error:
            reason = " ".join(str(error).split())
            raise CommandError(
                f"{path} is damaged ({reason}); restore it, or delete it, and everybody signs up again"
            ) from error

    @contextmanager
    def open(self) -> Iterator["Transaction"]:
        """Run a transaction; an exception rolls it back."""
        with self._connect() as conn:
            conn.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(conn)
            except BaseException:
                conn.execute("ROLLBACK")
                raise
            conn.execute("COMMIT")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        conn = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        try:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA foreign_keys = ON")
            yield conn
        finally:
            conn.close()


class Transaction:
    """The statements of one transaction."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def add_user(self, email: str, username: str, password: str | None, metadata: dict[str, Any]) -> User:
        """Store a new user. Raises SigninError if the address or the name is taken."""
        if self.user_by_email(email):
            raise SigninError(422, "user_already_exists", "User already registered")
        if self.user_by_username(username):
            raise SigninError(422, "conflict", "This username is taken; set another in data.username")
        metadata = {**metadata, "username": username, "email": email, "email_verified": True}
        user = User(str(uuid4()), email, password, metadata, int(time.time()))
        row = (user.id, email, username_key(username), password, json.dumps(metadata), user.created_at)
        self._conn.execute("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)", row)
        return user

    def ensure_user(self, username: str) -> User:
        """Return the user with this name; a new one has no password."""
        return self.user_by_username(username) or self.add_user(
            f"{username.lower()}@bbgram.local", username, password=None, metadata={}
        )

    def user(self, user_id: str) -> User | None:
        """Return the user with this id."""
        return self._user("SELECT * FROM users WHERE id = ?", user_id)

    def user_by_email(self, email: str) -> User | None:
        """Return the user with this address."""
        return self._user("SELECT * FROM users WHERE email = ?", email)

    def user_by_username(self, username: str) -> User | None:
        """Return the user with this name, ignoring case."""
        return self._user("SELECT * FROM users WHERE username_key = ?", username_key(username))

    def add_session(self, user: User) -> str:
        """Start a session and return its id."""
        session_id = str(uuid4())
        self._conn.execute("INSERT INTO sessions VALUES (?, ?)", (session_id, user.id))
        return session_id

    def has_session(self, session_id: str) -> bool:
        """Return whether the session still exists."""
        return self._conn.execute("SELECT 1 FROM sessions WHERE id = ?", (session_id,)).fetchone() is not None

    def end_sessions(self, user_id: str, session_id: str, scope: str) -> None:
        """Sign out: `local` ends this session, `others` all but this one, `global` all of the user."""
        if scope in ("local", "global"):
            self._conn.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
        if scope in ("others", "global"):
            self._conn.execute("DELETE FROM sessions WHERE user_id = ? AND id <> ?", (user_id, session_id))

    def add_refresh_token(self, session_id: str) -> str:
        """Return a new refresh token of the session; only its hash is kept."""
        token = secrets.token_urlsafe(24)
        self._conn.execute(
            "INSERT INTO refresh_tokens (hash, session_id) VALUES (?, ?)", (_digest(token), session_id)
        )
        return token

    def use_refresh_token(self, token: str) -> tuple[User, str]:
        """Use up a refresh token and return its user and session. Raises SigninError."""
        row = self._conn.execute(
            "SELECT used, session_id, user_id FROM refresh_tokens"
            " JOIN sessions ON sessions.id = session_id WHERE hash = ?",
            (_digest(token),),
        ).fetchone()
        if row is None:
            raise SigninError(
                400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found"
            )
        used, session_id, user_id = row
        if used:
            raise SigninError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
        self._conn.execute("UPDATE refresh_tokens SET used = 1 WHERE hash = ?", (_digest(token),))
        user = self.user(user_id)
        assert user is not None
        return user, session_id

    def _user(self, query: str, value: str) -> User | None:
        row = self._conn.execute(query, (value,)).fetchone()
        if row is None:
            return None
        user_id, email, _, password, metadata, created_at = row
        return User(user_id, email, password, json.loads(metadata), created_at)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
