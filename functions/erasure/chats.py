"""Erases a user's messages, and what their chats say of them, a portion of one chat at a time.

Peers keep their own side. Each erased message is a change of its chat with a number, as after
`unsend_message`: clients that were away find it when they sync. Others are told at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from functions.archive.patience import patiently
from functions.erasure import record
from functions.pacer import Pacer
from infra.store.boxes import Box
from infra.store.erasures import Erasure
from infra.store.reopening import REOPEN_NOTIFICATIONS

SLICE: Final = 250
"""Messages that one transaction looks at."""
_CHATS: Final = 100
_END: Final = 2**63 - 1

_FIND_CHATS = text(
    f"""
    SELECT id, user_lo = user_hi AS is_notes FROM (
        SELECT id, user_lo, user_hi FROM chats WHERE user_lo = :user
        UNION SELECT id, user_lo, user_hi FROM chats WHERE user_hi = :user
    ) own
    WHERE id >= :after ORDER BY id LIMIT {_CHATS}
    """
)
_LOCK = text("SELECT FROM chats WHERE id = :chat FOR NO KEY UPDATE")
_ERASE = text(
    """
    WITH portion AS MATERIALIZED (
        SELECT seq, id, sender_id = :user AS is_own, client_id, deleted_at, reactions,
            EXISTS (
                SELECT FROM changed_messages
                WHERE chat_id = :chat AND seq = messages.seq AND changed_at >= :started
            ) AS is_told_again
        FROM messages WHERE chat_id = :chat AND seq > :after ORDER BY seq LIMIT :slice
    ), wanted AS (
        SELECT seq, is_own, others.reactions, others.number AS reactions_gone
        FROM portion
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE pair ->> 1 = CAST(:user AS text)) AS number,
                jsonb_agg(pair ORDER BY place) FILTER (WHERE pair ->> 1 <> CAST(:user AS text)) AS reactions
            FROM jsonb_array_elements(portion.reactions) WITH ORDINALITY AS given (pair, place)
        ) others
        WHERE is_own AND deleted_at IS NULL OR NOT is_own AND others.number > 0
    ), changed AS MATERIALIZED (
        SELECT wanted.*, c.change + row_number() OVER (ORDER BY seq) AS change
        FROM wanted CROSS JOIN (SELECT change FROM chats WHERE id = :chat) c
    ), counted AS (
        UPDATE chats SET change = newest.change, lo_changed_at = now(), hi_changed_at = now()
        FROM (SELECT max(change) AS change FROM changed) newest
        WHERE id = :chat AND newest.change IS NOT NULL
    ), noted AS (
        INSERT INTO changed_messages (chat_id, seq, change, changed_at)
        SELECT :chat, seq, change, now() FROM changed
        ON CONFLICT (chat_id, seq) DO UPDATE
        SET change = excluded.change, changed_at = excluded.changed_at,
            client_ids = CASE
                WHEN (SELECT is_own FROM changed WHERE seq = changed_messages.seq) THEN '{}'
                ELSE changed_messages.client_ids
            END
    ), erased AS (
        UPDATE messages m
        SET change = coalesce(changed.change, m.change),
            text = CASE WHEN portion.is_own THEN '' ELSE m.text END,
            data = CASE WHEN NOT portion.is_own THEN m.data END,
            deleted_at = CASE WHEN portion.is_own THEN coalesce(m.deleted_at, now()) ELSE m.deleted_at END,
            reactions = CASE WHEN NOT portion.is_own THEN changed.reactions END,
            client_id = CASE WHEN NOT portion.is_own OR is_key_taken THEN m.client_id END
        FROM portion LEFT JOIN changed USING (seq)
        CROSS JOIN LATERAL (
            SELECT EXISTS (
                SELECT FROM messages o
                WHERE o.sender_id = :user AND coalesce(o.client_id, o.id::text) = portion.id::text
                    AND o.id <> portion.id
            ) AS is_key_taken
        ) key
        WHERE m.chat_id = :chat AND m.seq = portion.seq AND (
            changed.seq IS NOT NULL OR portion.is_own AND portion.client_id IS NOT NULL AND NOT is_key_taken
        )
    )
    SELECT portion.seq, portion.is_own, changed.seq IS NOT NULL AS is_changed, portion.is_told_again,
        coalesce(changed.reactions_gone, 0) AS reactions_gone
    FROM portion LEFT JOIN changed USING (seq)
    ORDER BY portion.seq
    """
)
"""Erases what the user has written, and takes their reactions from the messages of the other one.

A message with a client id gets the key of one without. It keeps it if a client had chosen just that key.
What this erasure has changed before is told again: what it published then may be lost.
"""
_DELETE_NOTES = text(
    """
    DELETE FROM messages WHERE chat_id = :chat AND seq = ANY(ARRAY(
        SELECT seq FROM messages WHERE chat_id = :chat ORDER BY seq LIMIT :slice FOR UPDATE
    ))
    """
)
_FORGET_SIDE = text(
    f"""
    WITH own AS (
        UPDATE chats SET
            lo_blocked_at = CASE WHEN user_lo <> :user THEN lo_blocked_at END,
            hi_blocked_at = CASE WHEN user_hi <> :user THEN hi_blocked_at END,
            lo_box = CASE WHEN user_lo = :user AND lo_box IN ({Box.PINNED}, {Box.ARCHIVED})
                THEN {Box.INBOX} ELSE lo_box END,
            hi_box = CASE WHEN user_hi = :user AND hi_box IN ({Box.PINNED}, {Box.ARCHIVED})
                THEN {Box.INBOX} ELSE hi_box END,
            lo_unread = lo_unread OR user_lo = :user,
            hi_unread = hi_unread OR user_hi = :user
        WHERE id = :chat
    )
    UPDATE chat_members w SET
        delivered_seq = least(
            coalesce(w.shown_delivered_seq, greatest(w.delivered_seq, w.read_seq)),
            greatest(w.delivered_seq, w.read_seq)
        ),
        read_seq = CASE WHEN p.read_receipts
            THEN least(coalesce(w.shown_read_seq, w.read_seq), w.read_seq) ELSE 0 END,
        shown_delivered_seq = NULL, shown_read_seq = NULL, muted_until = NULL, joined_at = NULL
    FROM profiles p
    WHERE w.chat_id = :chat AND w.user_id = :user AND p.id = :user
    RETURNING (
        SELECT CASE :user WHEN user_lo THEN lo_blocked_at ELSE hi_blocked_at END IS NOT NULL
        FROM chats WHERE id = :chat
    ) AS was_blocking
    """
)
"""Forgets what the user has set, and what they have received and read beyond what the other one sees."""


class Announcer(Protocol):
    """Tells the sockets of chat members about changed messages. Its host gives it to an erasure."""

    def changed(self, chat_id: UUID, seqs: Sequence[int]) -> None:
        """Tell both members of a chat what these messages are now. Raises redis.RedisError."""
        ...


@dataclass(frozen=True)
class ChatErasure:
    """Walks through the chats of a user."""

    engine: Engine
    pacer: Pacer
    announcer: Announcer
    erasure: Erasure
    step: str

    def run(self, place: str | None) -> bool:
        """Go on after a place. Return whether the last chat is done; False if the run is out of time."""
        chat_id, after = _parse(place)
        for chat in self._chats(chat_id):
            start = after if chat.id == chat_id else 0
            done = self._delete_notes(chat.id) if chat.is_notes else self._erase(chat.id, start)
            if not done:
                return False
        return True

    def _chats(self, start: UUID) -> "Iterator[_Chat]":
        found = [_Chat(start, False)]
        while found:
            with self.engine.begin() as conn:
                rows = conn.execute(_FIND_CHATS, {"user": self.erasure.user_id, "after": start})
                found = [_Chat(*row) for row in rows]
            yield from found
            if len(found) < _CHATS:
                return
            start = UUID(int=found[-1].id.int + 1)

    def _erase(self, chat_id: UUID, after: int) -> bool:
        """Erase the user's side of a chat behind a seq."""
        while self.erasure.deletes and after != _END:
            if self.pacer.out_of_time:
                return False
            last, told = patiently(self.engine, partial(self._portion, chat_id, after))
            # Before the place is noted: a run that dies meanwhile tells them again.
            self.announcer.changed(chat_id, told)
            after = _END if last is None else last
            self._note(chat_id, after)
            self.pacer.pause()
        patiently(self.engine, lambda conn: self._forget_side(conn, chat_id))
        self.pacer.pause()
        return not self.pacer.out_of_time

    def _portion(self, chat_id: UUID, after: int, conn: Connection) -> tuple[int | None, list[int]]:
        """Erase a portion. Return its last seq, None at the end of the chat, and the seqs to tell of."""
        user_id = self.erasure.user_id
        # A statement of its own: the next one sees what was committed while it waited for the lock.
        conn.execute(_LOCK, {"chat": chat_id})
        params = {
            "user": user_id,
            "chat": chat_id,
            "after": after,
            "started": self.erasure.started_at,
            "slice": SLICE,
        }
        rows = conn.execute(_ERASE, params).all()
        own = [row.seq for row in rows if row.is_changed and row.is_own]
        if own:
            conn.execute(REOPEN_NOTIFICATIONS, {"chats": [chat_id] * len(own), "seqs": own})
        erased = {
            "postgres.messages": len(own),
            "postgres.reactions": sum(row.reactions_gone for row in rows if not row.is_own),
        }
        record.count(conn, user_id, erased)
        told = [row.seq for row in rows if row.is_changed or row.is_told_again]
        return (rows[-1].seq if len(rows) == SLICE else None), told

    def _forget_side(self, conn: Connection, chat_id: UUID) -> None:
        params = {"user": self.erasure.user_id, "chat": chat_id}
        conn.execute(_LOCK, params)
        row = conn.execute(_FORGET_SIDE, params).one_or_none()
        blocks = int(row is not None and row.was_blocking)
        record.count(conn, self.erasure.user_id, {"postgres.blocks": blocks})

    def _delete_notes(self, chat_id: UUID) -> bool:
        """Delete notes to self, as the deletion of a profile does, but not all at once."""

        def delete(conn: Connection) -> int:
            conn.execute(_LOCK, {"chat": chat_id})
            deleted = conn.execute(_DELETE_NOTES, {"chat": chat_id, "slice": SLICE}).rowcount
            record.count(conn, self.erasure.user_id, {"postgres.notes": deleted})
            return deleted

        while patiently(self.engine, delete):
            if self.pacer.out_of_time:
                return False
            self.pacer.pause()
        return True

    def _note(self, chat_id: UUID, seq: int) -> None:
        with self.engine.begin() as conn:
            record.move(conn, self.erasure, self.step, f"{chat_id} {seq}")


@dataclass(frozen=True)
class _Chat:
    id: UUID
    is_notes: bool


def _parse(place: str | None) -> tuple[UUID, int]:
    if place is None:
        return UUID(int=0), 0
    chat_id, seq = place.split()
    return UUID(chat_id), int(seq)
