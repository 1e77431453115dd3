"""Repeats deliveries that nobody confirmed, and finds edges that ended without saying so.

The sweep reads chats that are due (through a partial index), never the message table as a whole, and each
message once: a second publication can only be lost together with a stream, which its edge notices. Edges
emit a message once per socket, so only a socket that missed a message sees it again.

The sweep works in portions and holds no lock while it talks to Redis. A portion is recorded as done once
it is published, so a sweep that fails or is killed repeats at most one.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
import structlog
from redis import Redis
from sqlalchemy import Engine, Row, text

from infra.presence import EndedLeases
from infra.wire import names
from infra.wire.events import Message
from workers import metrics
from workers.announcer import Announcer
from workers.arrays import array
from workers.context import HandlerContext
from workers.handlers.broadcast_presence import announcements, note_last_seen
from workers.messages import COLUMNS, JOINS, deliveries, to_message
from workers.outcome import Outcome
from workers.publish import Publisher
from workers.unread import tell_unread

log = structlog.get_logger(__name__)

_RUN_S: Final = 0.5
"""About how long one sweep goes on, in seconds: its worker does nothing else. The next one does the rest."""
_CHATS: Final = 200
"""Chats in a portion."""
_MESSAGES: Final = 2_000
"""About how many messages a portion may have."""
_CHANGES: Final = 50
"""Portions of messages that functions have changed, in a sweep."""
_USERS: Final = 500
"""Users of a dead edge in a portion."""
_TRIES: Final = 3
_BREATH_S: Final = 0.01
"""Pause before another try, so that senders can finish with the chats that they have locked."""

_DUE = text(
    """
    SELECT due.id, user_lo, user_hi, last_seq, swept_seq, last_to_lo, last_to_hi,
        NOT lo_unread AND last_to_lo > lo.read_seq AS is_lo_behind,
        NOT hi_unread AND last_to_hi > hi.read_seq AS is_hi_behind
    FROM (
        SELECT id, user_lo, user_hi, last_seq, swept_seq, lo_unread, hi_unread, sweep_at,
            coalesce(last_to_lo, last_seq) AS last_to_lo, coalesce(last_to_hi, last_seq) AS last_to_hi
        FROM chats
        WHERE sweep_at <= now()
        ORDER BY sweep_at
        LIMIT :chats
    ) due
    LEFT JOIN chat_members lo ON lo.chat_id = due.id AND lo.user_id = user_lo
    LEFT JOIN chat_members hi ON hi.chat_id = due.id AND hi.user_id = user_hi
    ORDER BY sweep_at
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
    WITH held AS MATERIALIZED (
        SELECT c.id, done.seq, done.last_seq,
            coalesce(lo.read_seq, 0) AS lo_read, coalesce(hi.read_seq, 0) AS hi_read
        FROM unnest(
            CAST(:chats AS uuid[]), CAST(:swept AS bigint[]), CAST(:last AS bigint[]), CAST(:done AS bigint[])
        ) AS done (chat_id, swept_seq, last_seq, seq)
        JOIN chats c ON c.id = done.chat_id AND c.swept_seq = done.swept_seq
        LEFT JOIN chat_members lo ON lo.chat_id = c.id AND lo.user_id = c.user_lo
        LEFT JOIN chat_members hi ON hi.chat_id = c.id AND hi.user_id = c.user_hi
        ORDER BY c.id
        FOR NO KEY UPDATE OF c SKIP LOCKED
    )
    UPDATE chats c
    SET swept_seq = held.seq, listed_at = c.activity_at, is_behind = false,
        lo_unread = c.user_lo < c.user_hi AND coalesce(c.last_to_lo, c.last_seq) > held.lo_read,
        hi_unread = c.user_lo < c.user_hi AND coalesce(c.last_to_hi, c.last_seq) > held.hi_read,
        sweep_at = CASE
            WHEN held.seq < held.last_seq THEN now()
            WHEN held.last_seq < c.last_seq THEN now() + make_interval(secs => :sweep_after)
        END
    FROM held
    WHERE c.id = held.id
    RETURNING c.id
    """
)
"""Records how far chats are swept, and for whom they have unread messages, unless another sweep has done so.

Later messages are checked as usual.

Never waits for a chat: senders would wait for the others that this statement has locked.
"""


class _Member(NamedTuple):
    """A member who may have undelivered messages in a chat that is due."""

    chat: Row[Any]
    user_id: str
    newest_seq: int
    """The newest seq among the messages to this member."""
    is_behind: bool
    """Whether they have unread messages in this chat, and had none when it was swept before."""


class Sweep:
    """One sweep. Two at once do no harm: each publishes, and one of them records it."""

    def __init__(
        self, engine: Engine, redis: Redis, publisher: Publisher, context: HandlerContext, prefix: str = ""
    ) -> None:
        self._engine = engine
        self._redis = redis
        self._changed_key = prefix + names.CHANGED_KEY
        self._announcer = Announcer(engine, publisher)
        self._ended_leases = EndedLeases(redis, prefix)
        self._publisher = publisher
        self._context = context

    def run(self) -> None:
        """Deliver what is due, tell of changes, and announce the users of edges that ended unseen.

        Raises redis.RedisError and sqlalchemy.exc.SQLAlchemyError; the next run does the rest.
        """
        stop_at = time.monotonic() + _RUN_S
        while self._sweep_chats() == _CHATS and time.monotonic() < stop_at:
            pass
        self._tell_changes(stop_at)
        for edge_id in self._ended_leases.find():
            self._announce_users(edge_id, stop_at)

    def _sweep_chats(self) -> int:
        """Sweep a portion of the chats that are due; return how many."""
        with self._engine.begin() as conn:
            due = conn.execute(_DUE, {"chats": _CHATS}).all()
        if not due:
            return 0
        members = [
            member
            for row in due
            for member in {
                row.user_lo: _Member(row, row.user_lo, row.last_to_lo, row.is_lo_behind),
                row.user_hi: _Member(row, row.user_hi, row.last_to_hi, row.is_hi_behind),
            }.values()
            if member.newest_seq > row.swept_seq
        ]
        with self._engine.begin() as conn:
            conn.execute(_LEFT, _member_columns(members))
        # Offline users receive everything when they connect.
        online = self._context.presence.online({member.user_id for member in members})
        watched = [member for member in members if member.user_id in online]
        page = max(1, min(self._context.page_max, _MESSAGES // max(1, len(watched))))
        messages = self._read_unconfirmed(watched, page)
        # Before it is recorded, so that what could not be published is swept again.
        outcome = Outcome(emits=deliveries(messages))
        self._tell_unread(watched, outcome)
        self._publisher.publish(outcome)
        self._record(due, _swept_up_to(due, messages, page))
        metrics.SWEPT_CHATS.inc(len(due))
        metrics.SWEPT_MESSAGES.inc(len(messages))
        log.info("swept", chats=len(due), messages=len(messages))
        return len(due)

    def _read_unconfirmed(self, watched: Sequence[_Member], page: int) -> list[Message]:
        if not watched:
            return []
        with self._engine.begin() as conn:
            rows = conn.execute(_UNCONFIRMED, {**_member_columns(watched), "page": page})
            return [to_message(row) for row in rows]

    def _tell_unread(self, members: Sequence[_Member], outcome: Outcome) -> None:
        """Tell those who have unread messages in a chat where they had none."""
        behind = {member.user_id for member in members if member.is_behind}
        if behind:
            with self._engine.begin() as conn:
                tell_unread(conn, behind, outcome)

    def _record(self, due: Sequence[Row[Any]], done: Mapping[str, int]) -> None:
        """Record up to where the chats are done. Those that stay locked are swept again."""
        left = list(due)
        for tries_left in reversed(range(_TRIES)):
            params = {
                "chats": array(row.id for row in left),
                "swept": array(row.swept_seq for row in left),
                "last": array(row.last_seq for row in left),
                "done": array(done[row.id] for row in left),
                "sweep_after": self._context.sweep_after_s,
            }
            with self._engine.begin() as conn:
                recorded = {row.id for row in conn.execute(_SWEPT, params)}
            left = [row for row in left if row.id not in recorded]
            if not left or not tries_left:
                return
            time.sleep(_BREATH_S)

    def _tell_changes(self, stop_at: float) -> None:
        """Tell clients of messages that functions have changed. Each goes from the list once it was told."""
        entries: Any = self._redis.lrange(self._changed_key, 0, _CHANGES - 1)
        for entry in entries:
            chat_id, seqs = msgspec.json.decode(entry, type=tuple[UUID, list[int]])
            self._announcer.changed(chat_id, seqs)
            self._redis.lrem(self._changed_key, 1, entry)
            if time.monotonic() >= stop_at:
                break

    def _announce_users(self, edge_id: str, stop_at: float) -> None:
        """Announce the users of an edge as offline, in portions. The last one ends with its lease."""
        announced = 0
        while users := self._ended_leases.users_of(edge_id, _USERS):
            self._announce(edge_id, users)
            self._ended_leases.remove_users(edge_id, users)
            announced += len(users)
            if time.monotonic() >= stop_at:
                break
        is_forgotten = self._ended_leases.forget(edge_id)
        if announced or is_forgotten:
            log.warning("edge_gone", edge=edge_id, users=announced, is_complete=is_forgotten)

    def _announce(self, edge_id: str, user_ids: Sequence[str]) -> None:
        online = self._context.presence.online(user_ids)
        with self._engine.begin() as conn:
            causes = {user_id: f"{edge_id}/{user_id}" for user_id in user_ids}
            note_last_seen(conn, causes, online, self._context.webhooks)
        # This transaction locks nothing.
        with self._engine.begin() as conn:
            conn.execution_options(stream_results=True)
            with closing(announcements(conn, user_ids, online)) as outcomes:
                for outcome in outcomes:
                    self._publisher.publish(outcome)


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
