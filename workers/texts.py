"""What the text of a message may be."""

from infra.store.invisible import is_invisible
from infra.wire.errors import ErrorCode, Rejection
from workers.context import HandlerContext


def check_text(text: str, context: HandlerContext, *, has_data: bool) -> None:
    """Raise Rejection(invalid_payload) for a text that cannot be stored. With data, it may be empty."""
    if is_invisible(text) and not (has_data and not text):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "The text is empty.")
    if len(text) > context.text_chars:
        too_long = f"The text is longer than {context.text_chars} characters."
        raise Rejection(ErrorCode.INVALID_PAYLOAD, too_long)
    if "\0" in text:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "Text must not contain NUL characters.")
