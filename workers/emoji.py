"""Which reactions there are: every sequence that Unicode calls an emoji."""

from functools import cache
from typing import Final

from infra.wire.errors import ErrorCode, Rejection

_PRESENTATION: Final = "\ufe0f"


@cache
def _spellings() -> dict[str, str]:
    """Return the fully qualified emoji, by how they are written without presentation selectors."""
    from emoji import EMOJI_DATA, STATUS  # large, so not before the first reaction

    qualified = STATUS["fully_qualified"], STATUS["component"]
    return {
        written.replace(_PRESENTATION, ""): written
        for written, about in EMOJI_DATA.items()
        if about["status"] in qualified
    }


def to_emoji(written: str) -> str:
    """Return the emoji as Unicode recommends to write it, so that each has one spelling.

    Raises Rejection(invalid_payload) if it is not exactly one emoji.
    """
    emoji = _spellings().get(written.replace(_PRESENTATION, ""))
    if emoji is None:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "`emoji` must be one emoji.")
    return emoji
