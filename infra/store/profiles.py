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

MAX_USERNAME: Final = 64
"""Characters. Nobody could write to a longer name (`infra.wire.commands.Username`)."""

INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's Default_Ignorable_Code_Point: zero-width characters, bidi controls, fillers and selectors."""
BLANK: Final = "\u115f\u1160\u2800\u3164\uffa0"
"""Blank characters that count as printable: Hangul fillers and a Braille pattern."""
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


def is_username(name: str) -> bool:
    """Return whether a profile may have this name.

    It must have 1 to 64 characters, all printable (no control characters, bidi controls included), something
    visible, and no stacks of combining marks. The name that stands for deleted users is reserved.
    """
    return (
        len(name) <= MAX_USERNAME
        and name.isprintable()
        and not _BLANK.search(name)
        and username_key(name) not in _RESERVED_KEYS
        and not _has_misused_marks(name)
    )


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
