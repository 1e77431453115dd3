"""The rules for user names in SQL are those of Python, on all of Unicode."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from infra.store import folding, joiners
from infra.store.engine import make_engine
from infra.store.invisible import BLANK, INVISIBLE
from infra.store.profiles import is_username, username_key
from infra.wire.commands import MAX_SPELLING
from tests.contract.characters import telling_characters
from tests.contract.joining import NAMES_WITH_JOINERS
from tests.harness.engines import Store

_BESIDE_JOINERS = f"[{joiners.JOINS_NEXT}{joiners.JOINS_LAST}{joiners.VOWEL_SIGNS}]"
_KEYS = text("SELECT name, username_key(name) FROM unnest(CAST(:names AS text[])) AS asked (name)")
_ALLOWED = text("SELECT name, is_username(name) FROM unnest(CAST(:names AS text[])) AS asked (name)")


@cache
def joined_characters() -> list[str]:
    """Return every character beside which joiners matter, but few letters, and a twentieth of the others."""
    return [
        char
        for place, char in enumerate(telling_characters())
        if place % 20 == 0 or unicodedata.category(char).startswith("M") or re.match(_BESIDE_JOINERS, char)
    ]


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


@pytest.mark.parametrize("plane", sorted({*range(17)} - {*folding._IN_USE}))
def test_planes_that_nobody_looks_at_hold_only_characters_that_are_alike(plane: int) -> None:
    *characters, one, two = map(chr, range(plane << 16, (plane + 1) << 16))
    assert {*map(unicodedata.category, characters)} in ({"Cn"}, {"Co"})
    assert unicodedata.category(one) == unicodedata.category(two) == "Cn"
    together = "".join(characters) + one + two
    assert together.casefold() == together
    assert re.search(f"[{INVISIBLE}{BLANK}]", together) is None


@pytest.mark.parametrize("context", ["a{}b e{}\u0301x", "{}\u0301\u0323 "], ids=["inside", "before marks"])
def test_every_character_is_folded_as_in_python(conn: Connection, context: str) -> None:
    """Many a name, so that each character meets the ones before and after it as well."""
    names = [context.replace("{}", char) for char in telling_characters()]
    assert differing(conn, ["".join(names[at : at + 100]) for at in range(0, len(names), 100)]) == []


def test_every_character_is_allowed_where_python_allows_it(conn: Connection) -> None:
    marks = [char for char in telling_characters() if unicodedata.category(char).startswith("M")]
    names = [f"a{char}" for char in telling_characters()]
    names += [name for mark in marks for name in (mark, f"a{mark}{mark}")]
    rows = conn.execute(_ALLOWED, {"names": names})
    assert [ascii(name) for name, allowed in rows if allowed != is_username(name)] == []


@pytest.mark.parametrize(
    "context",
    ["\u0628\u200c{}", "{}\u200c\u0628", "\u0915\u094d\u200d{}", "\u0915\u094d\u200c{}", "{}\u094d\u200d"],
    ids=["after A1", "before A1", "after B", "after A2", "before B"],
)
def test_joiners_beside_every_character_are_allowed_as_in_python(conn: Connection, context: str) -> None:
    rows = conn.execute(_ALLOWED, {"names": [context.replace("{}", char) for char in joined_characters()]})
    assert [ascii(name) for name, allowed in rows if allowed != is_username(name)] == []


SPELLINGS = {
    "64 characters": "x" * 64,
    "65 characters": "x" * 65,
    "64 syllables in 192 characters": "\u1112\u1161\u11ab" * 64,
    "65 syllables": "\u1112\u1161\u11ab" * 65,
    "64 letters with two accents": "\u03b9\u0308\u0301" * 64,
    "64 characters that fold to 1,152": "\ufdfa" * 64,
    "65 characters that fold to 1,170": "\ufdfa" * 65,
    "spaces that fold away": "a" + " " * 200 + "b",
    "selectors up to the limit": "a" + "\ufe0f" * (MAX_SPELLING - 1),
    "selectors beyond the limit": "a" + "\ufe0f" * MAX_SPELLING,
    "64 conjuncts with joiners": "\u0dc1\u0dca\u200d\u0dbb" * 16 + "\u0dc1" * 16,
    "too many conjuncts": "\u0dc1\u0dca\u200d\u0dbb" * 22,
}

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


@settings(max_examples=50, deadline=None)
@given(names=st.lists(NAMES_WITH_JOINERS, max_size=40))
def test_joiners_are_allowed_as_in_python(conn: Connection, names: list[str]) -> None:
    rows = conn.execute(_ALLOWED, {"names": names})
    assert [ascii(name) for name, allowed in rows if allowed != is_username(name)] == []


@pytest.mark.parametrize("name", SPELLINGS.values(), ids=SPELLINGS)
def test_a_name_is_as_long_as_in_python(conn: Connection, name: str) -> None:
    ((_, allowed),) = conn.execute(_ALLOWED, {"names": [name]})
    assert allowed == is_username(name)


@pytest.mark.parametrize("name", ["Deleted user", "deleted  USER", "\uff24eleted user", "", " ", "x" * 65])
def test_nobody_can_have_such_a_name(conn: Connection, name: str) -> None:
    assert not conn.execute(_ALLOWED, {"names": [name]}).one()[1]
    assert not is_username(name)
