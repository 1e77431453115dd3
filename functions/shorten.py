"""Shortens texts without cutting through what people see as one character (UAX 29, grapheme clusters)."""

from collections.abc import Callable
from typing import Final

from wcwidth import iter_graphemes

_MORE: Final = "…"


def shorten(text: str, most: int, size: Callable[[str], int] = len) -> str:
    """Return a text of at most `most` characters, or of what else `size` counts; `…` stands for the rest.

    `size` of a text must be the sum of those of its parts, and `most` at least that of `…`.
    """
    if size(text) <= most:
        return text
    kept, room = [], most - size(_MORE)
    for cluster in iter_graphemes(text):
        room -= size(cluster)
        if room < 0:
            break
        kept.append(cluster)
    return "".join(kept).rstrip() + _MORE
