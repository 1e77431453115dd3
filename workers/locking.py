"""Statements that lock rows, in two variants: one waits for rows that others have locked, one skips them."""

from sqlalchemy import TextClause, text

from workers.context import HandlerContext


class LockingStatement:
    """One SQL text for both variants. `{skip_locked}` ends its locking clause.

    Other placeholders are given as pairs: the text for waiting, and the text for skipping.
    """

    def __init__(self, sql: str, **variants: tuple[str, str]) -> None:
        waiting = {name: texts[0] for name, texts in variants.items()}
        skipping = {name: texts[1] for name, texts in variants.items()}
        self._waiting = text(sql.format(skip_locked="", **waiting))
        self._skipping = text(sql.format(skip_locked="SKIP LOCKED", **skipping))

    def for_(self, context: HandlerContext) -> TextClause:
        """Return the variant for handlers with this context."""
        return self._waiting if context.patient else self._skipping
