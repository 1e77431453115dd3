"""Finds deliveries that nobody confirmed, and edges that are gone.

Looks only at members whose time has come (a partial index), never through the message table. Edges
emit a message once per socket, so a swept message is seen only by a socket that has missed it.
"""

from typing import Any
from uuid import UUID

import structlog
from redis import Redis
from sqlalchemy import Connection, Engine, text

from infra.wire import names
from workers.handlers.announce import announce_users
from workers.messages import COLUMNS, JOINS, deliveries, to_message
from workers.publish import Publisher
from workers.requests import Outcome
from workers.rules import Rules

log = structlog.get_logger(__name__)

_MEMBERS = 500
"""Members that one sweep looks at; the rest waits for the next one."""
_MAX_DELAY_S = 600

_DUE = text(
    """
    SELECT w.chat_id, w.user_id, w.sweep_delay_s, w.delivered_seq >= c.last_seq AS confirmed
    FROM chat_members w JOIN chats c ON c.id = w.chat_id
    WHERE w.sweep_at <= now()
    ORDER BY w.sweep_at
    LIMIT :members
    FOR NO KEY UPDATE OF w SKIP LOCKED
    """
)
_UNCONFIRMED = text(
    f"""
    SELECT {COLUMNS}
    FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[])) AS due (chat_id, user_id)
    JOIN chat_members mine ON mine.chat_id = due.chat_id AND mine.user_id = due.user_id
    CROSS JOIN LATERAL (
        SELECT * FROM messages
        WHERE chat_id = mine.chat_id AND seq > mine.delivered_seq AND recipient_id = mine.user_id
        ORDER BY seq LIMIT :page
    ) m
    {JOINS}
    ORDER BY m.chat_id, m.seq
    """
)
_RESCHEDULE = text(
    """
    UPDATE chat_members w
    SET sweep_at = now() + make_interval(secs => due.delay), sweep_delay_s = due.delay
    FROM unnest(CAST(:chats AS uuid[]), CAST(:users AS uuid[]), CAST(:delays AS int[]))
        AS due (chat_id, user_id, delay)
    WHERE w.chat_id = due.chat_id AND w.user_id = due.user_id
    """
)


class Sweep:
    """One run of the sweep. Two at once do no harm: they skip what the other has locked."""

    def __init__(self, engine: Engine, redis: Redis, publisher: Publisher, rules: Rules) -> None:
        self._engine = engine
        self._redis = redis
        self._publisher = publisher
        self._rules = rules

    def run(self) -> None:
        """Deliver again what is due, and clear away dead edges.

        Raises redis.RedisError and sqlalchemy.exc.SQLAlchemyError; the next run makes up for it.
        """
        gone = self._forget_dead_edges()
        with self._engine.begin() as conn:
            outcome = self._sweep(conn)
            if gone:
                outcome.extend(announce_users(conn, gone, self._rules))
        self._publisher.publish(outcome)

    def _sweep(self, conn: Connection) -> Outcome:
        due = conn.execute(_DUE, {"members": _MEMBERS}).all()
        if not due:
            return Outcome()
        waiting = [row for row in due if not row.confirmed]
        online = self._rules.presence.online({str(row.user_id) for row in waiting})
        watched = [row for row in waiting if str(row.user_id) in online]
        outcome = Outcome()
        if watched:
            keys = {"chats": [row.chat_id for row in watched], "users": [row.user_id for row in watched]}
            rows = conn.execute(_UNCONFIRMED, {**keys, "page": self._rules.page_max})
            outcome.emits += deliveries(to_message(row) for row in rows)
            log.info("swept", members=len(due), online=len(watched), messages=len(outcome.emits))
        # Who is offline gets everything at the next connect, so there is nothing to watch any more.
        delays = [self._next_delay(row.sweep_delay_s) if row in watched else None for row in due]
        params = {"chats": [row.chat_id for row in due], "users": [row.user_id for row in due]}
        conn.execute(_RESCHEDULE, {**params, "delays": delays})
        return outcome

    def _next_delay(self, last_delay_s: int | None) -> int:
        return min(_MAX_DELAY_S, 2 * (last_delay_s or max(1, round(self._rules.sweep_after_s / 2))))

    def _forget_dead_edges(self) -> set[UUID]:
        """Remove what edges without a lease have left in Redis; return the users they held."""
        seconds, micros = self._redis.time()
        now_ms = seconds * 1000 + micros // 1000
        gone: set[UUID] = set()
        dead: Any = self._redis.zrangebyscore(names.LEASES_KEY, "-inf", now_ms)
        for edge_id in (edge.decode() for edge in dead):
            held: Any = self._redis.smembers(names.edge_users_key(edge_id))
            users = [user.decode() for user in held]
            pipe = self._redis.pipeline(transaction=True)
            for user_id in users:
                pipe.srem(names.user_edges_key(user_id), edge_id)
            pipe.delete(names.edge_users_key(edge_id), names.inbox_key(edge_id))
            pipe.zrem(names.LEASES_KEY, edge_id)
            pipe.execute()
            gone |= {UUID(user_id) for user_id in users}
            log.warning("edge_gone", edge=edge_id, users=len(users))
        return gone
