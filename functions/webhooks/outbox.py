"""The outbox as the sender sees it: what is next, what becomes of it, and who sends to an endpoint."""

from collections.abc import Collection
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Row, text

from infra.store.outbox import IS_OF, ISO_MS

CLAIM_S: Final = 60
"""For so long, nobody else sends to an endpoint. Whoever goes on sending renews it."""
LONE_TRIES: Final = 3
"""After so many failures, an endpoint is tried with single events."""
_SLICE: Final = 10_000
"""The most events that one statement gives up."""

_KNOW = text("INSERT INTO webhook_endpoints (name) VALUES (:endpoint) ON CONFLICT DO NOTHING")
_CLAIM = text(
    f"""
    UPDATE webhook_endpoints SET claim = :claim, claimed_until = now() + interval '{CLAIM_S} seconds'
    WHERE name = :endpoint AND next_at <= now() AND (claimed_until IS NULL OR claimed_until < now())
    RETURNING tries, caution
    """
)
_RENEW = text(
    f"""
    UPDATE webhook_endpoints SET claimed_until = now() + interval '{CLAIM_S} seconds'
    WHERE name = :endpoint AND claim = :claim
    RETURNING tries, caution
    """
)
_RELEASE = text(
    """
    UPDATE webhook_endpoints SET claim = NULL, claimed_until = NULL WHERE name = :endpoint AND claim = :claim
    """
)
_IN_ORDER = text("SELECT set_config('enable_sort', 'off', true)")
"""Has the planner read the index in its order. Without statistics it may sort all the events instead."""
_NEXT = text(
    f"""
    SELECT number, id, event, about, body, {ISO_MS.format(moment="created_at")} AS at
    FROM outbox o
    WHERE {IS_OF.format(endpoint=":endpoint")} AND dead_at IS NULL AND NOT EXISTS (
        SELECT FROM webhook_waits w
        WHERE w.endpoint = o.endpoint AND w.about = o.about AND w.next_at > now()
    )
    ORDER BY endpoint, number
    LIMIT :limit
    """
)
_SENT = text("DELETE FROM outbox WHERE number = ANY(CAST(:numbers AS bigint[]))")
_NO_WAITS = text(
    "DELETE FROM webhook_waits WHERE endpoint = :endpoint AND about = ANY(CAST(:abouts AS uuid[]))"
)
_WELL = text(
    """
    UPDATE webhook_endpoints SET tries = 0, failing_since = NULL, error = NULL, next_at = now()
    WHERE name = :endpoint AND tries > 0
    """
)
_TRUST = text("UPDATE webhook_endpoints SET caution = greatest(caution - 1, 0) WHERE name = :endpoint")
_PAUSE = text(
    f"""
    UPDATE webhook_endpoints SET tries = tries + 1,
        caution = least(caution + CAST(tries < {LONE_TRIES} AS int), 10),
        failing_since = coalesce(failing_since, now()), error = :error,
        next_at = now() + make_interval(secs => greatest(
            least(:retry_s * 2 ^ least(tries, 30), :retry_max_s), :asked_s
        ))
    WHERE name = :endpoint
    RETURNING failing_since < now() - make_interval(secs => :give_up_s) AS is_over
    """
)
_WAIT = text(
    """
    INSERT INTO webhook_waits AS w (endpoint, about, tries, next_at)
    VALUES (:endpoint, :about, 1, now() + make_interval(secs => :retry_s))
    ON CONFLICT (endpoint, about) DO UPDATE SET tries = w.tries + 1,
        next_at = now() + make_interval(secs => least(:retry_s * 2 ^ least(w.tries, 30), :retry_max_s))
    RETURNING since < now() - make_interval(secs => :give_up_s) AS is_over
    """
)
_GIVE_UP_ONE = text(
    """
    WITH over AS (DELETE FROM webhook_waits WHERE endpoint = :endpoint AND about = :about)
    UPDATE outbox SET dead_at = now(), error = :error WHERE number = :number AND dead_at IS NULL
    """
)
_GIVE_UP_OLD = text(
    f"""
    UPDATE outbox SET dead_at = now(), error = :error
    WHERE number IN (
        SELECT number FROM outbox
        WHERE {IS_OF.format(endpoint=":endpoint")} AND dead_at IS NULL
            AND created_at < now() - make_interval(secs => :give_up_s)
        ORDER BY endpoint, number LIMIT :slice
    )
    """
)
_HEALTH = text(
    f"""
    SELECT e.endpoint, s.failing_since, s.error, coalesce(s.next_at, now()) AS next_at,
        (SELECT count(*) FROM outbox WHERE endpoint = e.endpoint AND dead_at IS NULL) AS waiting,
        (
            SELECT created_at FROM outbox WHERE {IS_OF.format(endpoint="e.endpoint")} AND dead_at IS NULL
            ORDER BY endpoint, number LIMIT 1
        ) AS oldest,
        (SELECT count(*) FROM outbox WHERE endpoint = e.endpoint AND dead_at IS NOT NULL) AS dead
    FROM (
        SELECT endpoint FROM outbox UNION SELECT name FROM webhook_endpoints
        UNION SELECT unnest(CAST(:names AS text[]))
    ) e
    LEFT JOIN webhook_endpoints s ON s.name = e.endpoint
    ORDER BY e.endpoint
    """
)
_REPLAY = text(
    """
    WITH fresh AS (
        UPDATE webhook_endpoints SET tries = 0, failing_since = NULL, error = NULL, next_at = now()
        WHERE name = :endpoint
    ), others AS (
        DELETE FROM webhook_waits WHERE endpoint = :endpoint
    )
    UPDATE outbox SET dead_at = NULL, error = NULL WHERE endpoint = :endpoint AND dead_at IS NOT NULL
    """
)


class Pauses(NamedTuple):
    """How long to wait after failures, in seconds."""

    retry_s: float
    give_up_s: float
    retry_max_s: float = 900.0


def claim(conn: Connection, endpoint: str, claim_id: UUID) -> Row[Any] | None:
    """Claim an endpoint. Return `tries` and `caution`; None if it pauses, or somebody else sends to it."""
    conn.execute(_KNOW, {"endpoint": endpoint})
    return conn.execute(_CLAIM, {"endpoint": endpoint, "claim": claim_id}).one_or_none()


def renew(conn: Connection, endpoint: str, claim_id: UUID) -> Row[Any] | None:
    """Renew a claim. Return the same; None if somebody else has it now."""
    return conn.execute(_RENEW, {"endpoint": endpoint, "claim": claim_id}).one_or_none()


def release(conn: Connection, endpoint: str, claim_id: UUID) -> None:
    """Give up a claim."""
    conn.execute(_RELEASE, {"endpoint": endpoint, "claim": claim_id})


def read_next(conn: Connection, endpoint: str, limit: int) -> list[Row[Any]]:
    """Return the next events of all chats that do not wait, in their order. `conn` is in a transaction."""
    conn.execute(_IN_ORDER)
    return list(conn.execute(_NEXT, {"endpoint": endpoint, "limit": limit}))


def note_sent(conn: Connection, endpoint: str, numbers: Collection[int], abouts: Collection[UUID]) -> None:
    """Remove events that were accepted. Their chats need not wait any more."""
    conn.execute(_SENT, {"numbers": list(numbers)})
    conn.execute(_NO_WAITS, {"endpoint": endpoint, "abouts": list(abouts)})


def trust(conn: Connection, endpoint: str) -> None:
    """Send larger requests again to an endpoint that has accepted many smaller ones."""
    conn.execute(_TRUST, {"endpoint": endpoint})


def pause(conn: Connection, endpoint: str, error: str, asked_s: float, pauses: Pauses) -> int:
    """Send nothing to an endpoint for a while. Return how many events were given up."""
    params = {"endpoint": endpoint, "error": error, "asked_s": asked_s, **pauses._asdict()}
    if not conn.execute(_PAUSE, params).scalar():
        return 0
    params = {"endpoint": endpoint, "error": error, "give_up_s": pauses.give_up_s, "slice": _SLICE}
    return conn.execute(_GIVE_UP_OLD, params).rowcount


def wait(conn: Connection, endpoint: str, event: Row[Any], error: str, pauses: Pauses) -> int:
    """Send nothing of the chat of a refused event for a while. Return how many events were given up."""
    about = {"endpoint": endpoint, "about": event.about}
    if not conn.execute(_WAIT, {**about, **pauses._asdict()}).scalar():
        return 0
    return conn.execute(_GIVE_UP_ONE, {**about, "number": event.number, "error": error}).rowcount


def read_health(conn: Connection, names: Collection[str]) -> list[Row[Any]]:
    """Return how it goes with endpoints: those with these names, and all that are known."""
    return list(conn.execute(_HEALTH, {"names": list(names)}))


def replay(conn: Connection, endpoint: str) -> int:
    """Have what was given up sent again, without a pause. Return how many events that are."""
    return conn.execute(_REPLAY, {"endpoint": endpoint}).rowcount


def note_well(conn: Connection, endpoint: str) -> None:
    """Note that an endpoint works, which ends its pause."""
    conn.execute(_WELL, {"endpoint": endpoint})
