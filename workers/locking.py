"""Statements that lock rows, in two variants: one waits for rows that others have locked, one skips them."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, TextClause, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from infra.store.engine import fetch
from workers.context import HandlerContext

_PSYCOPG: Final = PGDialect_psycopg()  # type: ignore[no-untyped-call]


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

    def fetch(
        self, conn: Connection, context: HandlerContext, parameters: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """Run the variant for handlers with this context past SQLAlchemy; see `infra.store.engine.fetch`."""
        return fetch(conn, _in_psycopgs_format(self.for_(context)), parameters)


@cache
def _in_psycopgs_format(statement: TextClause) -> str:
    """Render a statement without its indentation: psycopg parses one of over 4,096 bytes each time."""
    return re.sub(r"\n\s+", "\n", str(statement.compile(dialect=_PSYCOPG)))
