"""The outbox of webhooks: facts, written by the statement or transaction that makes them.

Each row is for one endpoint. `number` is taken while the chat is locked, so it follows the order in which
messages and their changes are committed. A receipt is later than the message that it is about.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from infra.wire.webhooks import Subscriptions

ISO_MS: Final = """to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
"""SQL: a time as it is on the wire."""
IS_OF: Final = "endpoint >= {endpoint} AND endpoint <= {endpoint}"
"""SQL: whether a row is for an endpoint.

With `=`, ordering by `endpoint, number` could use the primary key, and read all that waits for others.
"""

_ADD = text(
    """
    INSERT INTO outbox (endpoint, id, event, about, body)
    SELECT endpoint, id, event, about, body
    FROM unnest(
        CAST(:endpoints AS text[]), CAST(:ids AS text[]), CAST(:events AS text[]), CAST(:abouts AS uuid[]),
        CAST(:bodies AS text[])
    ) WITH ORDINALITY AS fact (endpoint, id, event, about, body, place)
    ORDER BY place
    """
)


class Fact(NamedTuple):
    """Something that happened."""

    event: str
    key: str
    """What distinguishes it from all others of its kind."""
    about: str
    """Id of the chat in whose order it is sent."""
    body: str
    """JSON."""


def insertion(event: str, *, key: str, about: str, body: str, source: str) -> str:
    """Return a statement, for a CTE, that adds a fact for each row of a source, in its order.

    It needs the parameter `endpoints`: those that get the event. Key, chat and body are SQL.
    """
    return f"""
        INSERT INTO outbox (endpoint, id, event, about, body)
        SELECT endpoint, '{event}/' || {key}, '{event}', {about}, {body}
        FROM unnest(CAST(:endpoints AS text[])) AS endpoint CROSS JOIN {source}
    """


def add(conn: Connection, facts: Iterable[Fact], subscriptions: Subscriptions) -> None:
    """Add facts for the endpoints that get them, in the transaction that makes them."""
    rows = [(endpoint, fact) for fact in facts for endpoint in subscriptions.get(fact.event, ())]
    if not rows:
        return
    conn.execute(
        _ADD,
        {
            "endpoints": [endpoint for endpoint, _ in rows],
            "ids": [f"{fact.event}/{fact.key}" for _, fact in rows],
            "events": [fact.event for _, fact in rows],
            "abouts": [fact.about for _, fact in rows],
            "bodies": [fact.body for _, fact in rows],
        },
    )
