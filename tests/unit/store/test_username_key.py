"""Names that look the same have the same key, and names that cannot be read are refused."""

import sys
import unicodedata
from typing import Literal

import pytest

from infra.store.profiles import find_key, is_username, username_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "alice"),
        ("ALICE", "alice"),
        (" alice ", "alice"),
        ("\uff21\uff4c\uff49\uff43\uff45", "alice"),
        ("Straße", "STRASSE"),
        ("e\u0301mile", "\u00e9mile"),
        ("\ufb01sh", "fish"),
        ("\u212bngstr\u00f6m", "\u00e5ngstr\u00f6m"),
        ("\u1e9e", "ss"),
        ("al\u200bice", "alice"),
        ("\u202ealice\u202c", "alice"),
        ("alice\u2066\u2069", "alice"),
        ("ali\u00adce", "alice"),
        ("ali\u034fce", "alice"),
        ("alice\ufe0f", "alice"),
        ("alice\u3164", "alice"),
        ("alice\uffa0", "alice"),
        ("ali\U000e0063ce", "alice"),
        ("e\u034f\u0301mile", "\u00e9mile"),
        ("al  ice", "al ice"),
        ("al\u2003ice", "al ice"),
    ],
)
def test_names_that_look_alike_are_one(one: str, other: str) -> None:
    assert username_key(one) == username_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", "alicia"),
        ("alice", "al ice"),
        ("a_b", "ab"),
        ("é", "e"),
        ("alice", "\u0430lice"),  # Cyrillic: scripts are not compared
    ],
)
def test_names_that_differ_stay_two(one: str, other: str) -> None:
    assert username_key(one) != username_key(other)


@pytest.mark.parametrize("name", ["Alice", "\u1e9e", "\ufb01", "\u0130", "e\u0301", " \u2003x ", "\u0345"])
def test_the_key_of_a_key_is_itself(name: str) -> None:
    assert username_key(username_key(name)) == username_key(name)


def test_the_key_of_a_key_is_itself_for_every_character() -> None:
    fold = username_key.__wrapped__
    for char in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(char) not in {"Cn", "Co", "Cs"}:
            assert fold(fold(f"a{char}b")) == fold(f"a{char}b"), hex(ord(char))


LONG = [
    unicodedata.normalize("NFD", char * 64)
    for char in ("\u00e9", "\u1ec5", "\u0390", "\ud55c", "\u0439", "\u304c", "\u0625")
]
"""Names of 64 characters once they are folded, written with two or three times as many."""
WITH_JOINERS = [
    "\u0dc1\u0dca\u200d\u0dbb\u0dd3 \u0dbd\u0d82\u0d9a\u0dcf",  # Sinhala: Sri Lanka
    "\u0d9a\u0dca\u200d\u0dbb\u0dd2\u0dc2\u0dca\u0dab",  # Sinhala: Krishna
    "\u0d9a\u0dca\u200d\u0dba\u0dcf\u0db1\u0dd2",  # Sinhala: ya
    "\u0646\u06cc\u0645\u200c\u0631\u0648\u0632",  # Persian: Nimruz
    "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",  # Persian: Alireza
    "\u0639\u0650\u0644\u0650\u06cc\u0651\u200c\u0631\u0650\u0636\u0627",  # the same with vowels
    "\u0915\u094d\u200d\u0937",  # Hindi: a half form
    "\u0915\u094d\u200c\u0937",  # Hindi: no conjunct
    "\u0930\u094d\u200d",  # Marathi: the eyelash form, at the end
    "\u0928\u093c\u094d\u200d\u092f",  # with a nukta
    "\u0d05\u0d35\u0d28\u0d4d\u200d",  # Malayalam: an old chillu
    "\u1b13\u1b44\u200c\u1b13",  # Balinese
    "\u0646\u200c\u0645\u200c\u0646",  # several
]


@pytest.mark.parametrize(
    "name",
    [
        "alice",
        "Émile",
        "e\u0301mile",
        "Nguy\u1ec5n",
        unicodedata.normalize("NFD", "Nguy\u1ec5n"),
        "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",
        "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f",
        "\u0e19\u0e49\u0e33",
        "\u0939\u093f\u0928\u094d\u0926\u0940",
        "\ud55c\uae00",
        "\u674e",
        "al ice",
        "O\u00b4Brien",
        "\u2764\ufe0f",
        "\U0001f600",
        "a.b-c_d@e",
        "x" * 64,
        *LONG,
        *WITH_JOINERS,
    ],
)
def test_a_name_in_any_language_is_allowed(name: str) -> None:
    assert is_username(name)


ODD = {
    "empty": "",
    "spaces": "   ",
    "too long": "x" * 65,
    "too long when decomposed": "e\u0301" * 65,
    "too long with joiners": "\u0dc1\u0dca\u200d\u0dbb" * 22,
    "written too long": "a" + "\ufe0f" * 512,
    "blank note": "\U0001d159",
    "blank hieroglyph": "bob\U00013441",
    "NUL": "a\0b",
    "line feed": "a\nb",
    "delete": "a\x7fb",
    "C1 control": "a\x85b",
    "right-to-left override": "a\u202eb",
    "left-to-right isolate": "a\u2066b",
    "right-to-left mark": "a\u200fb",
    "Arabic letter mark": "a\u061cb",
    "zero-width space": "a\u200bb",
    "zero-width joiner": "a\u200db",
    "zero-width non-joiner": "a\u200cb",
    "joiner in an emoji": "\U0001f469\u200d\U0001f4bb",
    "joiner before a sign of a vowel": "\u0915\u094d\u200d\u093f",
    "joiner without a virama": "\u0915\u200d\u0937",
    "joiner before the virama": "\u0dc1\u200d\u0dca\u0dbb",
    "virama without a letter": "1\u094d\u200d\u0937",
    "two joiners": "\u0915\u094d\u200d\u200d\u0937",
    "non-joiner before no letter": "\u0915\u094d\u200c",
    "non-joiner at the end": "\u0639\u0644\u06cc\u200c",
    "non-joiner at the beginning": "\u200c\u0639\u0644\u06cc",
    "non-joiner after what joins nothing": "\u0645\u0627\u200c\u0646",
    "non-joiner between scripts": "\u0639\u0644\u06cc\u200cb",
    "joiner in Persian": "\u0639\u0644\u06cc\u200d\u0631\u0636\u0627",
    "word joiner": "a\u2060b",
    "byte order mark": "\ufeffab",
    "soft hyphen": "a\u00adb",
    "no-break space": "a\u00a0b",
    "line separator": "a\u2028b",
    "tag": "a\U000e0041b",
    "surrogate": "a\ud800b",
    "private use": "a\ue000b",
    "unassigned": "a\u0378b",
    "only a filler": "\u3164",
    "only a selector": "\ufe0f",
    "only a joiner of graphemes": "\u034f",
    "blank of Braille": "bob\u2800",
    "filler of Hangul": "bob\u3164\u3164admin",
    "half-width filler": "bob\uffa0",
    "mark on nothing": "\u0301bob",
    "mark on a space": "bob \u0301",
    "mark on what is invisible": "\ufe0f\u0301bob",
    "pile of marks": "b" + "\u0300\u0301\u0302\u0303\u0304" + "ob",
    "the same mark twice": "bo\u0301\u0301b",
    "mark on an accent": "b\u00f3\u0301b",
}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_a_name_that_cannot_be_seen_or_read_is_refused(name: str) -> None:
    assert not is_username(name)


@pytest.mark.parametrize("name", WITH_JOINERS)
def test_names_that_differ_in_joiners_only_are_one(name: str) -> None:
    bare = name.replace("\u200c", "").replace("\u200d", "")
    assert username_key(bare) == username_key(name)
    assert is_username(bare)


@pytest.mark.parametrize("name", WITH_JOINERS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_with_joiners_is_allowed_however_it_is_encoded(name: str, form: Literal["NFC", "NFD"]) -> None:
    assert is_username(unicodedata.normalize(form, name))


def test_long_spellings_fill_no_cache() -> None:
    before = username_key.cache_info().currsize
    assert find_key("\ufdfa" * 500) == username_key.__wrapped__("\ufdfa" * 500)
    assert username_key.cache_info().currsize == before
