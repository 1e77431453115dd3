"""Characters that show nothing, in names and in messages."""

import re
from typing import Final

INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's Default_Ignorable_Code_Point: zero-width characters, bidi controls, fillers and selectors."""
BLANK: Final = "\u115f\u1160\u2800\u3164\uffa0\U00013441\U00013442\U00016fe4\U0001d159"
"""Blank characters that count as printable: fillers, blank hieroglyphs, a Braille cell, a null notehead."""

_CONTROLS: Final = r"\x00-\x08\x0e-\x1b\x7f-\x9f\ufff9-\ufffb\U00013430-\U0001343f"
"""Controls and format characters that are not in INVISIBLE, without those that enclose digits."""
_VISIBLE = re.compile(rf"[^\s{INVISIBLE}{BLANK}{_CONTROLS}]")


def is_invisible(text: str) -> bool:
    """Return whether the text shows nothing: it has only spaces, controls, and invisible or blank characters.

    Characters that this release does not know, and accents without a letter, count as visible.
    """
    return _VISIBLE.search(text) is None
