"""Profiles and their user names."""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from sqlalchemy import Connection, text

from infra.store.engine import make_engine

MAX_USERNAME = 64
"""Characters. Nobody could write to a longer name (`infra.wire.commands.Username`)."""

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
"""Unicode's Default_Ignorable_Code_Point: zero-width characters, bidi controls, fillers and selectors."""
_BLANK = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")
"""Blank characters that count as printable: Hangul fillers and a Braille pattern."""
_MARKS_MAX = 4
"""The most combining marks on one letter (UTS 39, 5.4). Vietnamese needs two, Hebrew three."""

_INSERT = text(
    """
    INSERT INTO profiles (id, username, username_key)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:keys AS text[]))
    ON CONFLICT DO NOTHING
    """
)


@lru_cache(maxsize=50_000)
def username_key(username: str) -> str:
    """Fold a name, so that `Alice`, `alice` and names that look the same get the same key.

    This is Unicode's NFKC_Casefold: it ignores case, width, ligatures and invisible characters. Spaces around
    the name and repeated spaces are ignored as well. Similar letters of different scripts stay different.
    """
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", username).casefold())
    return " ".join(unicodedata.normalize("NFKC", visible).split())


def is_username(name: str) -> bool:
    """Return whether a profile may have this name.

    It must have 1 to 64 characters, all printable (no control characters, bidi controls included), something
    visible, and no stacks of combining marks.
    """
    return (
        len(name) <= MAX_USERNAME
        and name.isprintable()
        and not _BLANK.search(name)
        and bool(username_key(name))
        and not _has_misused_marks(name)
    )


def _has_misused_marks(name: str) -> bool:
    """Return whether combining marks have no base, form a stack, or repeat."""
    stack: str | None = None
    for char in unicodedata.normalize("NFD", _INVISIBLE.sub("", name)):
        if unicodedata.category(char) not in {"Mn", "Me"}:
            stack = None if char == " " else ""
        elif stack is None or len(stack) == _MARKS_MAX or char in stack:
            return True
        else:
            stack += char
    return False


def insert_profiles(conn: Connection, usernames: Mapping[str, str]) -> None:
    """Insert the profiles that do not exist yet, except those whose name is taken."""
    ids = sorted(usernames)
    names = [usernames[user_id] for user_id in ids]
    conn.execute(_INSERT, {"ids": ids, "names": names, "keys": [username_key(name) for name in names]})


def ensure_profile(database_url: str, user_id: str, username: str) -> None:
    """Insert a profile if the user has none. For the local stack and sign-up: opens its own connection."""
    engine = make_engine(database_url)
    try:
        with engine.begin() as conn:
            insert_profiles(conn, {user_id: username})
    finally:
        engine.dispose()
