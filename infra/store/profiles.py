"""User names and the profiles that carry them."""

import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from sqlalchemy import Connection, text

from infra.store.engine import make_engine

MAX_USERNAME = 64
"""Characters; nobody could write to a longer name (`infra.wire.commands.Username`)."""

_INSERT = text(
    """
    INSERT INTO profiles (id, username, username_key)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:keys AS text[]))
    ON CONFLICT DO NOTHING
    """
)


@lru_cache(maxsize=50_000)
def username_key(username: str) -> str:
    """Fold a name so that `Alice`, `alice` and full-width look-alikes are one (NFKC, case-folded)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold()).strip()


def is_username(name: str) -> bool:
    """Tell whether a profile may carry this name: 1 to 64 printable characters, not only spaces."""
    return len(name) <= MAX_USERNAME and name.isprintable() and bool(username_key(name))


def insert_profiles(conn: Connection, usernames: Mapping[str, str]) -> None:
    """Insert the profiles that are not there yet; a name that somebody else has is left alone."""
    ids = sorted(usernames)
    names = [usernames[user_id] for user_id in ids]
    conn.execute(_INSERT, {"ids": ids, "names": names, "keys": [username_key(name) for name in names]})


def ensure_profile(database_url: str, user_id: str, username: str) -> None:
    """Make sure that the user has a profile. For the local stack and sign-up; opens its own connection."""
    engine = make_engine(database_url)
    try:
        with engine.begin() as conn:
            insert_profiles(conn, {user_id: username})
    finally:
        engine.dispose()
