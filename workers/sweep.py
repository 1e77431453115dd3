"""Repeats deliveries that nobody confirmed, and finds edges that ended without saying so.

The sweep reads chats that are due (through a partial index), never the message table as a whole, and each
message once: a second publication can only be lost together with a stream, which its edge notices. Edges
emit a message once per socket, so only a socket that missed a message sees it again.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from redis import Redis
from sqlalchemy import Connection, Engine, Row, text

from infra.presence import EndedLeases
from infra.wire.events import Message
from workers.arrays import array
from workers.context import HandlerContext
from workers.handlers.broadcast_presence import tell_peers
from workers.messages import COLUMNS, JOINS, deliveries, to_message
from workers.outcome import Outcome
from workers.publish import Publisher

log = structlog.get_logger(__name__)

_CHATS = 500
"""Most chats of one sweep; the others wait for the next one."""

_DUE = text(
    """
    SELECT id, user_lo, user_hi, last_seq, swept_seq,
        coalesce(last_to_lo, last_seq) AS last_to_lo, coalesce(last_to_hi, last_seq) AS last_to_hi
    FROM chats
    WHERE sweep_at <= now()
    ORDER BY sweep_at
    LIMIT :chats
    FOR NO KEY UPDATE SKIP LOCKED
    """
)
_UNCONFIRMED = text(
    f"""
    WITH m AS MATERIALIZED (
        SELECT message.*
        FROM unnest(
            CAST(:chats AS uuid[]), CAST(:users AS uuid[]),
            CAST(:swept AS bigint[]), CAST(:newest AS bigint[])
        ) AS due (chat_id, user_id, swept_seq, newest_seq)
        JOIN chat_members mine ON mine.chat_id = due.chat_id AND mine.user_id = due.user_id
            AND due.newest_seq > mine.delivered_seq
        CROSS JOIN LATERAL (
            SELECT * FROM messages
            WHERE chat_id = due.chat_id AND seq > greatest(due.swept_seq, mine.delivered_seq)
                AND recipient_id = due.user_id
            ORDER BY seq LIMIT :page
        ) message
    )
    SELECT {COLUMNS}
    FROM m
    {JOINS}
    ORDER BY m.chat_id, m.seq
    """
)
"""MATERIALIZED: without statistics, the planner would look for messages once per pair of members."""
_LEFT = text(
    """
    INSERT INTO undelivered (chat_id, user_id, check_at)
    SELECT due.chat_id, due.user_id, oldest.created_at
    FROM unnest(
        CAST(:chats AS uuid[]), CAST(:users AS uuid[]),
        CAST(:swept AS bigint[]), CAST(:newest AS bigint[])
    ) AS due (chat_id, user_id, swept_seq, newest_seq)
    JOIN chat_members mine ON mine.chat_id = due.chat_id AND mine.user_id = due.user_id
        AND due.newest_seq > greatest(mine.delivered_seq, mine.read_seq)
    CROSS JOIN LATERAL (
        SELECT created_at FROM messages
        WHERE chat_id = due.chat_id AND seq > greatest(due.swept_seq, mine.delivered_seq, mine.read_seq)
            AND recipient_id = due.user_id AND sender_id <> due.user_id
        ORDER BY seq LIMIT 1
    ) oldest
    ORDER BY due.chat_id, due.user_id
    ON CONFLICT (chat_id, user_id) DO UPDATE SET check_at = excluded.check_at
        WHERE undelivered.check_at IS NULL
    """
)
"""Records who has unconfirmed messages. Offline delivery itself decides who is offline."""
_SWEPT = text(
    """
    UPDATE chats c
    SET swept_seq = done.seq, sweep_at = CASE WHEN done.seq < c.last_seq THEN now() END
    FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])) AS done (chat_id, seq)
    WHERE c.id = done.chat_id
    """
)


class _Member(NamedTuple):
    """A member who may have undelivered messages in a chat that is due."""

    chat: Row[Any]
    user_id: str
    newest_seq: int
    """The newest seq among the messages to this member."""


class Sweep:
    """One sweep. Two at once do no harm: each skips what the other has locked."""

    def __init__(self, engine: Engine, redis: Redis, publisher: Publisher, context: HandlerContext) -> None:
        self._engine = engine
        self._ended_leases = EndedLeases(redis)
        self._publisher = publisher
        self._context = context

    def run(self) -> None:
        """Deliver what is due, and announce the users of edges that ended without saying so.

        Raises redis.RedisError and sqlalchemy.exc.SQLAlchemyError; the next run does the rest.
        """
        ended = self._ended_leases.find()
        with self._engine.begin() as conn:
            outcome = self._sweep(conn)
            if gone := {user_id for users in ended.values() for user_id in users}:
                outcome.extend(tell_peers(conn, gone, self._context))
            # Before the commit, so that what could not be published is swept again.
            self._publisher.publish(outcome)
        self._ended_leases.forget(ended)
        for edge_id, users in ended.items():
            log.warning("edge_gone", edge=edge_id, users=len(users))

    def _sweep(self, conn: Connection) -> Outcome:
        outcome = Outcome()
        due = conn.execute(_DUE, {"chats": _CHATS}).all()
        if not due:
            return outcome
        members = [
            _Member(row, user_id, newest_seq)
            for row in due
            for user_id, newest_seq in {row.user_lo: row.last_to_lo, row.user_hi: row.last_to_hi}.items()
            if newest_seq > row.swept_seq
        ]
        conn.execute(_LEFT, _member_columns(members))
        # Offline users receive everything when they connect.
        online = self._context.presence.online({member.user_id for member in members})
        watched = [member for member in members if member.user_id in online]
        messages = self._read_unconfirmed(conn, watched)
        outcome.emits += deliveries(messages)
        done = _swept_up_to(due, messages, self._context.page_max)
        conn.execute(_SWEPT, {"chats": array(done), "seqs": array(done.values())})
        log.info("swept", chats=len(due), messages=len(messages))
        return outcome

    def _read_unconfirmed(self, conn: Connection, watched: Sequence[_Member]) -> list[Message]:
        if not watched:
            return []
        params = {**_member_columns(watched), "page": self._context.page_max}
        return [to_message(row) for row in conn.execute(_UNCONFIRMED, params)]


def _member_columns(members: Sequence[_Member]) -> dict[str, str]:
    return {
        "chats": array(member.chat.id for member in members),
        "users": array(member.user_id for member in members),
        "swept": array(member.chat.swept_seq for member in members),
        "newest": array(member.newest_seq for member in members),
    }


def _swept_up_to(due: Sequence[Row[Any]], messages: Sequence[Message], page: int) -> dict[str, int]:
    """Return the seq up to which each chat is done: its last one, or the last one of a member's full page."""
    pages: dict[tuple[str, str], list[int]] = defaultdict(list)
    for message in messages:
        pages[message.chat_id, message.recipient_id].append(message.seq)
    done: dict[str, int] = {row.id: row.last_seq for row in due}
    for (chat_id, _), seqs in pages.items():
        if len(seqs) == page:
            done[chat_id] = min(done[chat_id], seqs[-1])
    return done
