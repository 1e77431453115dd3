"""The characters of Unicode that tests go through: all special ones, and a sample of those that are alike."""

import re
import sys
import unicodedata
from functools import cache
from itertools import groupby
from typing import Final

from infra.store.invisible import BLANK, INVISIBLE

_MANY: Final = 500
"""Longer runs of characters are sampled: ideographs, and those that are private or not assigned."""
_STEP: Final = 50


@cache
def telling_characters() -> list[str]:
    """Return all characters but surrogates; of a long run that no rule tells apart, the ends and a fiftieth.

    The ideographs and unassigned characters that are left out are nine tenths of Unicode, and all alike.
    """
    characters = [chr(code) for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    special = set(re.findall(f"[{INVISIBLE}{BLANK}]", "".join(characters)))

    def kind(char: str) -> tuple[object, ...]:
        changes = char.casefold() != char or unicodedata.normalize("NFKD", char) != char
        return (
            unicodedata.category(char),
            unicodedata.combining(char),
            char.isspace(),
            char.isprintable(),
            char in special,
            changes and char,
        )

    telling: list[str] = []
    for _, run in groupby(characters, kind):
        alike = list(run)
        telling += alike if len(alike) <= _MANY else [*alike[:-1:_STEP], alike[-1]]
    return telling
