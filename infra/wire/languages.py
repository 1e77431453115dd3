"""Tags of languages (BCP 47), as devices report them."""

import re
from typing import Final

LANGUAGE_CHARS: Final = 35
"""As long as a tag may have to be (RFC 5646, 4.4.1)."""
_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


def is_language(tag: str) -> bool:
    """Return whether a tag is well-formed; whether the language exists is another question."""
    return len(tag) <= LANGUAGE_CHARS and _TAG.fullmatch(tag) is not None
