"""Joiners are allowed exactly where UAX 31 allows them; another library has the properties of Unicode."""

import sys
import unicodedata
from functools import cache

import pytest
import regex
from hypothesis import given, settings

from infra.store import joiners
from infra.store.joiners import without_joiners
from tests.contract.joining import NAMES_WITH_JOINERS

PROPERTIES = {
    r"[\p{jt=L}\p{jt=D}]": joiners._JOINS_NEXT.fullmatch,
    r"[\p{jt=R}\p{jt=D}]": joiners._JOINS_LAST.fullmatch,
    r"\p{InSC=Vowel_Dependent}": joiners._VOWEL_SIGN.fullmatch,
    r"\p{L}": joiners.is_letter,
    r"\p{Mn}": joiners.is_nonspacing,
    r"\p{ccc=9}": joiners.is_virama,
    r"[\p{Mn}--\p{ccc=0}]": joiners.is_combining,
    r"\p{jt=T}": joiners.is_transparent,
}
"""The classes of UAX 31, 2.3, and how our code tells whether a character belongs to them."""
_MARKED = r"[\p{Mn}--\p{ccc=0}]*"
_IN_CONTEXT = regex.compile(
    rf"""
    (?<=[\p{{jt=L}}\p{{jt=D}}]\p{{jt=T}}*) \u200c (?=\p{{jt=T}}*[\p{{jt=R}}\p{{jt=D}}])
    | (?<=\p{{L}}\p{{Mn}}*\p{{ccc=9}}{_MARKED}) \u200c (?={_MARKED}\p{{L}})
    | (?<=\p{{L}}\p{{Mn}}*\p{{ccc=9}}{_MARKED}) \u200d (?!\p{{InSC=Vowel_Dependent}})
    """,
    regex.VERBOSE | regex.VERSION1,
)
"""A1, A2 and B of UAX 31, 2.3."""


@cache
def printable() -> list[str]:
    """Return every printable character that both libraries know."""
    assigned = regex.compile(r"\p{Assigned}")
    every = map(chr, range(sys.maxunicode + 1))
    return [char for char in every if char.isprintable() and assigned.match(char)]


@pytest.mark.parametrize(("pattern", "belongs"), PROPERTIES.items(), ids=PROPERTIES)
def test_the_classes_are_those_of_unicode(pattern: str, belongs: object) -> None:
    assert callable(belongs)
    expected = regex.compile(pattern, regex.VERSION1)
    differing = [c for c in printable() if bool(belongs(c)) != bool(expected.fullmatch(c))]
    # Some characters of an older Python have another category by now.
    assert [ascii(c) for c in differing if unicodedata.category(c) == general_category(c)] == []


def general_category(char: str) -> str:
    """Return the category of a character in the other library's Unicode."""
    categories = {unicodedata.category(c) for c in printable()}
    return next(name for name in categories if regex.match(rf"\p{{{name}}}", char))


@settings(max_examples=2_000, deadline=None)
@given(name=NAMES_WITH_JOINERS)
def test_joiners_are_allowed_where_unicode_allows_them(name: str) -> None:
    assert without_joiners(name) == _IN_CONTEXT.sub("", name)
