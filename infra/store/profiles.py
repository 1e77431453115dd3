"""Profiles and their user names."""

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from infra.settings.store import SCHEMA
from infra.store.engine import make_engine
from infra.store.invisible import BLANK, INVISIBLE
from infra.store.joiners import without_joiners
from infra.wire.commands import MAX_SPELLING

MAX_USERNAME: Final = 64
"""Characters that a name may have, either as it is written or once it is folded."""

MARKS_MAX: Final = 4
"""The most combining marks on one letter (UTS 39, 5.4). Vietnamese needs two, Hebrew three."""
MARKS: Final = ("Mn", "Me")
"""The categories of characters that count as combining marks."""

DELETED_USERNAME: Final = "Deleted user"
"""What peers see as the name of a deleted user. Nobody can have it."""

_INVISIBLE = re.compile(f"[{INVISIBLE}]+")
_BLANK = re.compile(f"[{BLANK}]")

_INSERT = text(
    """
    INSERT INTO profiles (id, username, named_at)
    SELECT id, username, coalesce(named_at, now())
    FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:times AS timestamptz[]))
        AS named (id, username, named_at)
    ON CONFLICT DO NOTHING
    """
)
_RENAME = text(
    """
    UPDATE profiles p SET username = named.username, named_at = named.named_at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:times AS timestamptz[]))
        AS named (id, username, named_at)
    WHERE p.id = named.id AND p.deleted_at IS NULL
        AND p.named_at <= named.named_at AND p.username <> named.username
        AND NOT EXISTS (
            SELECT FROM profiles q WHERE q.username_key = username_key(named.username) AND q.id <> p.id
        )
    """
)


class NamedUser(NamedTuple):
    """A user and the name they chose."""

    id: str
    username: str
    named_at: datetime | None = None
    """When it was chosen; None for now."""


@lru_cache(maxsize=50_000)
def username_key(username: str) -> str:
    """Fold a name, so that `Alice`, `alice` and names that look the same get the same key.

    This is Unicode's NFKC_Casefold: it ignores case, width, ligatures and invisible characters. Spaces around
    the name and repeated spaces are ignored as well. Similar letters of different scripts stay different.
    """
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", username).casefold())
    return " ".join(unicodedata.normalize("NFKC", visible).split())


_RESERVED_KEYS: Final = frozenset({"", username_key(DELETED_USERNAME)})


def find_key(spelling: str) -> str:
    """Return the key of a name that anybody may have written. What no cache should hold is not cached.

    A name with a NUL, which Postgres cannot even be asked for, gets the key that nobody has.
    """
    fold = username_key if len(spelling) <= MAX_USERNAME else username_key.__wrapped__
    key = fold(spelling)
    return "" if "\0" in key else key


def has_username_length(spelling: str) -> bool:
    """Return whether a name in this spelling is short enough for somebody to have it.

    It may be longer than the name: accents may be separate characters, and others may be invisible.
    """
    if len(spelling) <= MAX_USERNAME:
        return True
    return len(spelling) <= MAX_SPELLING and len(find_key(spelling)) <= MAX_USERNAME


def is_username(name: str) -> bool:
    """Return whether a profile may have this name.

    It must have 1 to 64 characters (see `has_username_length`), all printable (no control characters, bidi
    controls included), something visible, joiners only where the script needs them, and no stacks of
    combining marks. The name that stands for deleted users is reserved.
    """
    return (
        has_username_length(name)
        and not _BLANK.search(name)
        and find_key(name) not in _RESERVED_KEYS
        and not _has_misused_marks(name)
        and without_joiners(name).isprintable()
    )


def is_visible(name: str) -> bool:
    """Return whether a name shows something."""
    return bool(find_key(_BLANK.sub("", name)))


def _has_misused_marks(name: str) -> bool:
    """Return whether combining marks have no base, form a stack, or repeat."""
    stack: str | None = None
    for char in unicodedata.normalize("NFD", _INVISIBLE.sub("", name)):
        if unicodedata.category(char) not in MARKS:
            stack = None if char == " " else ""
        elif stack is None or len(stack) == MARKS_MAX or char in stack:
            return True
        else:
            stack += char
    return False


def insert_profiles(conn: Connection, users: Iterable[NamedUser]) -> None:
    """Insert the profiles that do not exist yet, except those whose name is taken."""
    conn.execute(_INSERT, _columns(users))


def rename_profiles(conn: Connection, users: Iterable[NamedUser]) -> None:
    """Rename users who chose their names later than their present ones, except those whose name is taken."""
    conn.execute(_RENAME, _columns(users))


def _columns(users: Iterable[NamedUser]) -> dict[str, list[Any]]:
    ordered = sorted(users)
    return {
        "ids": [user.id for user in ordered],
        "names": [user.username for user in ordered],
        "times": [user.named_at for user in ordered],
    }


def ensure_profile(database_url: str, user_id: str, username: str, *, schema: str = SCHEMA) -> None:
    """Insert a profile if the user has none. For the local stack and sign-up: opens its own connection."""
    engine = make_engine(database_url, schema=schema)
    try:
        with engine.begin() as conn:
            insert_profiles(conn, [NamedUser(user_id, username)])
    finally:
        engine.dispose()
