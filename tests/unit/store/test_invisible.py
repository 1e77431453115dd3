"""A text that shows nothing is told from one that shows something."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.store.invisible import is_invisible

ENCLOSING = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
"""Format characters that show something: signs around or above digits (Prepended_Concatenation_Mark)."""

INVISIBLE = {
    "nothing": "",
    "spaces": "   ",
    "all kinds of spaces": "\t\n\x0b\x0c\r\x1c\x1f \x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000",
    "controls": "\x00\x01\x1b\x7f\x80\x9f",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff\u180e",
    "directions": "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    "invisible operators": "\u2061\u2062\u2063\u2064",
    "shaping": "\u206a\u206b\u206c\u206d\u206e\u206f",
    "soft hyphen": "\xad\xad",
    "joiner of graphemes": "\u034f",
    "fillers": "\u115f\u1160\u3164\uffa0\U00016fe4",
    "vowels that show nothing": "\u17b4\u17b5",
    "selectors": "\u180b\u180f\ufe00\ufe0f\U000e0100\U000e01ef",
    "tags": "\U000e0001\U000e0020\U000e007f",
    "blank of Braille": "\u2800\u2800",
    "musical": "\U0001d159\U0001d173\U0001d17a",
    "shorthand": "\U0001bca0\U0001bca3",
    "annotation": "\ufff9\ufffa\ufffb",
    "hieroglyphs": "\U00013430\U0001343f\U00013441\U00013442",
    "all together": " \u200b\n\u2800\u3164\ufe0f\x07",
}
VISIBLE = {
    "letter": "a",
    "one letter among many that show nothing": "\u200b" * 500 + "x" + "\u3164" * 500,
    "emoji": "\u2764\ufe0f",
    "family": "\U0001f469\u200d\U0001f467",
    "flag of Scotland": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "full stop": ".",
    "accent alone": "\u0301",
    "keycap alone": "\u20e3",
    "sign around digits": "\u06dd",
    "Braille": "\u2801",
    "hieroglyph": "\U00013000",
    "private use": "\ue000",
    "unknown": "\u0378",
    "replacement": "\ufffd",
    "picture of a space": "\u2423",
}


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_a_text_of_nothing_but_this_shows_nothing(text: str) -> None:
    assert is_invisible(text)


@pytest.mark.parametrize("text", VISIBLE.values(), ids=VISIBLE)
def test_a_text_with_this_shows_something(text: str) -> None:
    assert not is_invisible(text)


def test_spaces_controls_and_format_characters_show_nothing() -> None:
    hidden = {"Cc", "Cf", "Zs", "Zl", "Zp"}
    chars = [chr(code) for code in range(sys.maxunicode + 1)]
    assert [
        ascii(char)
        for char in chars
        if unicodedata.category(char) in hidden and is_invisible(char) == (char in ENCLOSING)
    ] == []


def test_letters_digits_punctuation_and_symbols_show_something() -> None:
    chars = [chr(code) for code in range(sys.maxunicode + 1)]
    blank = {char for char in chars if unicodedata.category(char)[0] in "LNPS" and is_invisible(char)}
    known = {char for char in "\U00013441\U00013442" if unicodedata.category(char) != "Cn"}
    assert blank == {*"\u115f\u1160\u2800\u3164\uffa0\U0001d159"} | known


_HIDDEN = st.text(st.sampled_from([*"".join(INVISIBLE.values())]))


@given(hidden=_HIDDEN)
def test_what_shows_nothing_shows_nothing_in_any_order(hidden: str) -> None:
    assert is_invisible(hidden)


@given(before=_HIDDEN, shown=st.sampled_from([*"aé\u0645\u674e\U0001f600.1"]), after=_HIDDEN)
def test_one_visible_character_is_enough(before: str, shown: str, after: str) -> None:
    assert not is_invisible(before + shown + after)
