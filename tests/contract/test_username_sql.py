"""The rules for user names in SQL are those of Python, on all of Unicode."""

import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from infra.store.engine import make_engine
from infra.store.invisible import BLANK, INVISIBLE
from infra.store.profiles import is_username, username_key
from tests.harness.engines import Store

EVERYTHING = [chr(code) for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
TELLING = [
    char
    for place, char in enumerate(EVERYTHING)
    if char < "\U00034000" or "\U000e0000" <= char < "\U000e1000" or place % 100 == 0
]
"""Every character of the planes with more than private and unassigned ones, and a hundredth of the others."""
_KEYS = text("SELECT name, username_key(name) FROM unnest(CAST(:names AS text[])) AS asked (name)")
_ALLOWED = text("SELECT name, is_username(name) FROM unnest(CAST(:names AS text[])) AS asked (name)")


@pytest.fixture(scope="module")
def conn(bench_store: Store) -> Iterator[Connection]:
    engine = make_engine(bench_store.database_url, timeouts=False)
    with engine.connect() as conn:
        yield conn
    engine.dispose()


def differing(conn: Connection, names: list[str]) -> list[str]:
    """Return the names that SQL folds to another key than Python."""
    rows = conn.execute(_KEYS, {"names": names})
    return [ascii(name) for name, key in rows if key != username_key.__wrapped__(name)]


@pytest.mark.parametrize("context", ["a{}b e{}\u0301x", "{}\u0301\u0323 "], ids=["inside", "before marks"])
def test_every_character_is_folded_as_in_python(conn: Connection, context: str) -> None:
    """Many a name, so that each character meets the ones before and after it as well."""
    names = [context.replace("{}", char) for char in TELLING]
    assert differing(conn, ["".join(names[at : at + 100]) for at in range(0, len(names), 100)]) == []


def test_every_character_is_allowed_where_python_allows_it(conn: Connection) -> None:
    rows = conn.execute(_ALLOWED, {"names": [f"a{char}" for char in TELLING]})
    assert [ascii(name) for name, allowed in rows if allowed != is_username(name)] == []


_MARKS = "\u0301\u0323\u0302\u05b0\u05b1\u20dd\u0488"
_HOSTILE = st.text(
    st.sampled_from(
        [
            *INVISIBLE.replace("-", ""),
            *BLANK,
            *_MARKS,
            *"aA\u00df\u0130\ufb03\u1e9e \t\u2028\u00a0",
            "\U0001ccd6",
        ]
    )
    | st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    max_size=70,
)


@settings(max_examples=50, deadline=None)
@given(names=st.lists(_HOSTILE, max_size=40))
def test_any_name_is_judged_and_folded_as_in_python(conn: Connection, names: list[str]) -> None:
    assert differing(conn, names) == []
    rows = conn.execute(_ALLOWED, {"names": names})
    assert [ascii(name) for name, allowed in rows if allowed != is_username(name)] == []


@pytest.mark.parametrize("name", ["Deleted user", "deleted  USER", "\uff24eleted user", "", " ", "x" * 65])
def test_nobody_can_have_such_a_name(conn: Connection, name: str) -> None:
    assert not conn.execute(_ALLOWED, {"names": [name]}).one()[1]
    assert not is_username(name)
