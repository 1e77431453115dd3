"""Remembers what blocks, message requests and the hook have refused, so that it stays refused.

It comes again when Redis loses its last seconds, or an edge sends again what was handled meanwhile: the block
may be over by then, and the client was told that the request has failed.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection

from infra.wire.errors import Rejection
from workers.arrays import array
from workers.context import HandlerContext
from workers.locking import LockingStatement

KEPT: Final = 50
"""How many refused requests a chat remembers."""
NOT_REFUSED: Final = "({request} = ANY({chat}.refused)) IS NOT TRUE"
"""SQL: whether a request may be handled. `{chat}` is a locked row of `chats`, or has its `refused`."""

_REMEMBER = LockingStatement(
    """
    WITH held AS MATERIALIZED (
        SELECT c.id, ARRAY(
            SELECT request FROM unnest(new.requests) WITH ORDINALITY AS one (request, place)
            WHERE {is_new} ORDER BY place
        ) AS requests
        FROM (
            SELECT chat_id, array_agg(request ORDER BY place) AS requests
            FROM unnest(CAST(:chats AS uuid[]), CAST(:requests AS uuid[])) WITH ORDINALITY
                AS one (chat_id, request, place)
            GROUP BY chat_id
        ) new
        JOIN chats c ON c.id = new.chat_id
        ORDER BY c.id
        FOR NO KEY UPDATE OF c {skip_locked}
    ), noted AS (
        UPDATE chats c SET refused = (c.refused || requests)[
            greatest(1, coalesce(cardinality(c.refused), 0) + cardinality(requests) - {kept} + 1):
        ]
        FROM held WHERE c.id = held.id AND cardinality(requests) > 0
    )
    SELECT id FROM held
    """.replace("{kept}", str(KEPT)).replace("{is_new}", NOT_REFUSED.format(request="request", chat="c"))
)


class LastingRejection(Rejection):
    """One that holds for each copy of the request."""


def remember(conn: Connection, refused: Mapping[str, str], context: HandlerContext) -> set[str]:
    """Remember refused requests, given with the ids of their chats. Return the chats that do."""
    if not refused:
        return set()
    params = {"requests": array(refused), "chats": array(refused.values())}
    return set(conn.execute(_REMEMBER.for_(context), params).scalars())
