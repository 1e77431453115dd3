"""Names that look the same have the same key, and names that cannot be read are refused."""

import sys
import unicodedata

import pytest

from infra.store.profiles import is_username, username_key


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
    ],
)
def test_a_name_in_any_language_is_allowed(name: str) -> None:
    assert is_username(name)


ODD = {
    "empty": "",
    "spaces": "   ",
    "too long": "x" * 65,
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
