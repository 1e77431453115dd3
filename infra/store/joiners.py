"""Where a name may have a joiner: where it changes how letters of the script look (UAX 31, 2.3).

Persian and other languages need the non-joiner, Sinhala and other scripts of India the joiner as well. The
tables are those of Unicode 18, as insides of bracket expressions; a test compares them.
"""

import re
import unicodedata
from itertools import dropwhile
from typing import Final

NON_JOINER: Final = "\u200c"
JOINER: Final = "\u200d"
JOINS_NEXT: Final = (
    "\u0620\u0626\u0628\u062a-\u062e\u0633-\u063f\u0641-\u0647\u0649\u064a\u066e\u066f\u0678-\u0687"
    "\u069a-\u06bf\u06c1\u06c2\u06cc\u06ce\u06d0\u06d1\u06fa-\u06fc\u06ff\u0712-\u0714\u071a-\u071d"
    "\u071f-\u0727\u0729\u072b\u072d\u072e\u074e-\u0758\u075c-\u076a\u076d-\u0770\u0772\u0775-\u0777"
    "\u077a-\u077f\u07ca-\u07ea\u0841-\u0845\u0848\u084a-\u0853\u0855\u0860\u0862-\u0865\u0868\u0886"
    "\u0889-\u088d\u088f\u08a0-\u08a9\u08af\u08b0\u08b3-\u08b8\u08ba-\u08c8\u1807\u1820-\u1878"
    "\u1887-\u18a8\u18aa\ua840-\ua872\U00010ac0-\U00010ac4\U00010acd\U00010ad3-\U00010adc"
    "\U00010ade-\U00010ae0\U00010aeb-\U00010aee\U00010b80\U00010b82\U00010b86-\U00010b88"
    "\U00010b8a\U00010b8b\U00010b8d\U00010b90\U00010bad\U00010bae\U00010d00-\U00010d21\U00010d23"
    "\U00010ec3\U00010ec4\U00010ec6\U00010ec7\U00010ed9-\U00010eee\U00010f30-\U00010f32"
    "\U00010f34-\U00010f44\U00010f51-\U00010f53\U00010f70-\U00010f73\U00010f76-\U00010f81\U00010fb0"
    "\U00010fb2\U00010fb3\U00010fb8\U00010fbb\U00010fbc\U00010fbe\U00010fbf\U00010fc1\U00010fc4"
    "\U00010fca\U00010fcb\U0001e900-\U0001e943"
)
"""Joining_Type Left_Joining or Dual_Joining: letters that join the next one."""
JOINS_LAST: Final = (
    "\u0620\u0622-\u063f\u0641-\u064a\u066e\u066f\u0671-\u0673\u0675-\u06d3\u06d5\u06ee\u06ef"
    "\u06fa-\u06fc\u06ff\u0710\u0712-\u072f\u074d-\u077f\u07ca-\u07ea\u0840-\u0858\u0860\u0862-\u0865"
    "\u0867-\u086a\u0870-\u0882\u0886\u0889-\u088f\u08a0-\u08ac\u08ae-\u08c8\u1807\u1820-\u1878"
    "\u1887-\u18a8\u18aa\ua840-\ua871\U00010ac0-\U00010ac5\U00010ac7\U00010ac9\U00010aca"
    "\U00010ace-\U00010ad6\U00010ad8-\U00010ae1\U00010ae4\U00010aeb-\U00010aef\U00010b80-\U00010b91"
    "\U00010ba9-\U00010bae\U00010d01-\U00010d23\U00010ec2-\U00010ec4\U00010ec6\U00010ec7"
    "\U00010f30-\U00010f44\U00010f51-\U00010f54\U00010f70-\U00010f81\U00010fb0\U00010fb2-\U00010fb6"
    "\U00010fb8-\U00010fbf\U00010fc1-\U00010fc4\U00010fc9\U00010fca\U0001e900-\U0001e943"
)
"""Joining_Type Right_Joining or Dual_Joining: letters that join the one before."""
VOWEL_SIGNS: Final = (
    "\u093a\u093b\u093e-\u094c\u094e\u094f\u0955-\u0957\u0962\u0963\u09be-\u09c4\u09c7\u09c8\u09cb\u09cc"
    "\u09d7\u09e2\u09e3\u0a3e-\u0a42\u0a47\u0a48\u0a4b\u0a4c\u0abe-\u0ac5\u0ac7-\u0ac9\u0acb\u0acc"
    "\u0ae2\u0ae3\u0b3e-\u0b44\u0b47\u0b48\u0b4b\u0b4c\u0b53-\u0b57\u0b62\u0b63\u0bbe-\u0bc2\u0bc6-\u0bc8"
    "\u0bca-\u0bcc\u0bd7\u0c3e-\u0c44\u0c46-\u0c48\u0c4a-\u0c4c\u0c55\u0c56\u0c62\u0c63\u0cbe-\u0cc4"
    "\u0cc6-\u0cc8\u0cca-\u0ccc\u0cd5\u0cd6\u0ce2\u0ce3\u0d3e-\u0d44\u0d46-\u0d48\u0d4a-\u0d4c\u0d57"
    "\u0d62\u0d63\u0dcf-\u0dd4\u0dd6\u0dd8-\u0ddf\u0df2\u0df3\u0e30-\u0e39\u0e40-\u0e45\u0e47"
    "\u0eb0-\u0eb9\u0ebb\u0ec0-\u0ec4\u0f71-\u0f7d\u0f80\u0f81\u102b-\u1035\u1056-\u1059\u1062"
    "\u1067\u1068\u1071-\u1074\u1083-\u1086\u109c\u109d\u1712\u1713\u1732\u1733\u1752\u1753\u1772\u1773"
    "\u17b6-\u17c5\u17c8\u1920-\u1928\u193a\u19b0-\u19c0\u1a17-\u1a1b\u1a61-\u1a73\u1b35-\u1b43"
    "\u1ba4-\u1ba9\u1be7-\u1bef\u1c26-\u1c2c\ua802\ua823-\ua827\ua8b5-\ua8c3\ua8ff\ua947-\ua94e"
    "\ua9b4-\ua9bc\ua9e5\uaa29-\uaa32\uaab0-\uaabe\uaaeb-\uaaef\uabe3-\uabea\U00010a01-\U00010a03"
    "\U00010a05\U00010a06\U00010a0c\U00010a0d\U00011038-\U00011045\U00011073\U00011074"
    "\U000110b0-\U000110b8\U000110c2\U00011127-\U00011132\U00011145\U00011146\U000111b3-\U000111bf"
    "\U000111cb\U000111cc\U000111ce\U0001122c-\U00011233\U00011241\U000112e0-\U000112e8"
    "\U0001133e-\U00011344\U00011347\U00011348\U0001134b\U0001134c\U00011357\U00011362\U00011363"
    "\U000113b8-\U000113c0\U000113c2\U000113c5\U000113c7-\U000113c9\U00011435-\U00011441"
    "\U000114b0-\U000114be\U000115af-\U000115b5\U000115b8-\U000115bb\U000115dc\U000115dd"
    "\U00011630-\U0001163c\U00011640\U000116ad-\U000116b5\U00011720-\U0001172a\U0001182c-\U00011836"
    "\U00011930-\U00011935\U00011937\U00011938\U000119d1-\U000119d7\U000119da-\U000119dd\U000119e4"
    "\U00011a01-\U00011a0a\U00011a51-\U00011a5b\U00011b60-\U00011b67\U00011c2f-\U00011c36"
    "\U00011c38-\U00011c3b\U00011cb0-\U00011cb4\U00011d31-\U00011d36\U00011d3a\U00011d3c\U00011d3d"
    "\U00011d3f\U00011d43\U00011d8a-\U00011d8e\U00011d90\U00011d91\U00011d93\U00011d94"
    "\U00011ef3-\U00011ef6\U00011f34-\U00011f3a\U00011f3e-\U00011f40\U0001611e-\U00016129"
    "\U00016d63-\U00016d6a"
)
"""Indic_Syllabic_Category Vowel_Dependent."""
ADLAM_NASALIZATION: Final = "\U0001e94b"
"""The only letter across which others join."""

_JOINS_NEXT = re.compile(f"[{JOINS_NEXT}]")
_JOINS_LAST = re.compile(f"[{JOINS_LAST}]")
_VOWEL_SIGN = re.compile(f"[{VOWEL_SIGNS}]")


def without_joiners(name: str) -> str:
    """Return the name without the joiners that it may have."""
    return "".join(
        char
        for place, char in enumerate(name)
        if char not in (JOINER, NON_JOINER) or not _may_join(name[:place], char, name[place + 1 :])
    )


def _may_join(before: str, joiner: str, after: str) -> bool:
    """Return whether a joiner may stand between two texts."""
    if joiner == JOINER:
        return _ends_with_virama(before) and not _VOWEL_SIGN.match(after)
    if _ends_with_virama(before) and is_letter(next(dropwhile(is_combining, after), " ")):
        return True
    last = next(dropwhile(is_transparent, reversed(before)), " ")
    first = next(dropwhile(is_transparent, after), " ")
    return bool(_JOINS_NEXT.match(last) and _JOINS_LAST.match(first))


def _ends_with_virama(text: str) -> bool:
    """Return whether a letter and a virama end the text, perhaps with marks between and after them."""
    for place in reversed(range(len(text))):
        before = reversed(text[:place])
        if is_virama(text[place]) and is_letter(next(dropwhile(is_nonspacing, before), " ")):
            return True
        if not is_combining(text[place]):
            return False
    return False


def is_letter(char: str) -> bool:
    """Return whether it is a letter of any script."""
    return unicodedata.category(char).startswith("L")


def is_nonspacing(char: str) -> bool:
    """Return whether it is a mark that takes no room."""
    return unicodedata.category(char) == "Mn"


def is_combining(char: str) -> bool:
    """Return whether it is a mark that may change places with others."""
    return is_nonspacing(char) and unicodedata.combining(char) != 0


def is_virama(char: str) -> bool:
    """Return whether it silences the vowel of a consonant."""
    return unicodedata.combining(char) == 9


def is_transparent(char: str) -> bool:
    """Return whether letters join across it: Joining_Type Transparent, less what no name may have."""
    return unicodedata.category(char) in ("Mn", "Me") or char == ADLAM_NASALIZATION
