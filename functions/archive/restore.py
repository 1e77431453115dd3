"""`restore`: brings archived days back into `messages`. Their objects stay where they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import takewhile
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection, Engine, text

from functions.archive.bucket import ArchiveBucket
from functions.archive.deletion import key_columns
from functions.archive.holds import hold_days
from functions.archive.layout import ObjectName
from functions.archive.message_file import ArchivedMessage
from functions.archive.patience import patiently
from functions.context import Context, Summary
from functions.data_errors import in_halves
from functions.erasure.tombstone import has_traces, without_traces
from functions.errors import ArchiveError
from functions.numbering import number_messages
from functions.pacer import Pacer

log = structlog.get_logger(__name__)

_COUNT_ONE_BY_ONE = text(
    """
    WITH chat AS MATERIALIZED (
        SELECT c.id, archived.seq
        FROM (
            SELECT chat_id, max(seq) AS seq FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]))
                AS archived (chat_id, seq)
            GROUP BY chat_id
        ) archived
        JOIN chats c ON c.id = archived.chat_id
        ORDER BY c.id
        FOR NO KEY UPDATE OF c
    )
    UPDATE chats c SET numbered_after = chat.seq
    FROM chat WHERE c.id = chat.id AND c.numbered_after < chat.seq
    """
)
"""Until restored messages are numbered: others may be missing between them, see `infra.store.counting`.

It locks the chats, and comes before the messages: whoever sends an archived message again waits here for
the chat, and not, with the chat locked, for the message.
"""
_INSERT = text(
    """
    INSERT INTO messages (
        chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at, data, reply_to,
        change, edited_at, deleted_at, reactions, kind
    )
    SELECT archived.*
    FROM unnest(
        CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]), CAST(:senders AS uuid[]),
        CAST(:recipients AS uuid[]), CAST(:texts AS text[]), CAST(:client_ids AS text[]),
        CAST(:times AS timestamptz[]), CAST(:data AS text[]), CAST(:replies AS bigint[]),
        CAST(:changes AS bigint[]), CAST(:edited AS timestamptz[]), CAST(:deleted AS timestamptz[]),
        CAST(:reactions AS jsonb[]), CAST(:kinds AS text[])
    ) AS archived (
        chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at, data, reply_to,
        change, edited_at, deleted_at, reactions, kind
    )
    JOIN chats c ON c.id = archived.chat_id
    ORDER BY archived.chat_id, archived.seq
    ON CONFLICT DO NOTHING
    """
)
_RENEW = text(
    """
    WITH archived AS (
        SELECT *
        FROM unnest(
            CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]), CAST(:texts AS text[]),
            CAST(:data AS text[]), CAST(:changes AS bigint[]), CAST(:edited AS timestamptz[]),
            CAST(:deleted AS timestamptz[]), CAST(:reactions AS jsonb[])
        ) AS archived (chat_id, seq, id, text, data, change, edited_at, deleted_at, reactions)
        WHERE change IS NOT NULL
    ), newer AS (
        UPDATE messages m
        SET text = archived.text, data = archived.data, change = archived.change,
            edited_at = archived.edited_at, deleted_at = archived.deleted_at, reactions = archived.reactions
        FROM archived
        WHERE m.chat_id = archived.chat_id AND m.seq = archived.seq AND m.id = archived.id
            AND coalesce(m.change, 0) < archived.change
    )
    INSERT INTO changed_messages (chat_id, seq, change, changed_at)
    SELECT m.chat_id, m.seq, archived.change, coalesce(archived.deleted_at, archived.edited_at, m.created_at)
    FROM archived
    JOIN messages m ON m.chat_id = archived.chat_id AND m.seq = archived.seq AND m.id = archived.id
    ON CONFLICT (chat_id, seq) DO UPDATE SET change = excluded.change, changed_at = excluded.changed_at
    WHERE changed_messages.change < excluded.change
    """
)
"""Of a message in several objects, the one with the last change counts. `sync` finds changes again."""
_NOTE_RESTORED = text(
    """
    WITH stored AS (
        SELECT m.chat_id, m.seq
        FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]))
            AS archived (chat_id, seq, id)
        JOIN messages m ON m.chat_id = archived.chat_id AND m.seq = archived.seq AND m.id = archived.id
    ), noted AS (
        UPDATE archived_chats a SET seqs = a.seqs - back.seqs
        FROM (
            SELECT chat_id, range_agg(int8range(seq, seq, '[]')) AS seqs FROM stored GROUP BY chat_id
        ) back
        WHERE a.chat_id = back.chat_id AND a.seqs && back.seqs
    )
    SELECT count(*) FROM stored
    """
)
_ERASED = text(
    """
    SELECT user_id, started_at FROM erasures WHERE mode = 'delete' AND user_id = ANY(CAST(:users AS uuid[]))
    """
)
_PRUNE = text("DELETE FROM archived_chats WHERE chat_id = ANY(CAST(:chats AS uuid[])) AND isempty(seqs)")


@dataclass
class _Totals:
    messages: int = 0
    skipped: int = 0
    objects: int = 0
    chats: set[UUID] = field(default_factory=set)

    def summary(self) -> Summary:
        return {"messages": self.messages, "skipped": self.skipped, "objects": self.objects}


def restore(
    context: Context, pacer: Pacer, first_day: date, last_day: date, dry_run: bool = False
) -> Summary:
    """Restore the UTC days from `first_day` to `last_day`, and hold them for `archive_hold_days`.

    Returns the number of messages restored, of messages `skipped` because their chat is gone, the sender has
    sent them again or the database refuses them, and of objects. It is safe to run again. Raises
    SettingsError without a bucket, what boto3 and SQLAlchemy raise, and at the end ArchiveError for the first
    object that is not what was written.
    """
    bucket = ArchiveBucket.connect(context.settings)
    totals = _Totals()
    if not dry_run:
        hold_days(context.engine, first_day, last_day, context.settings.archive_hold_days)
    errors = []
    for name in _objects(bucket, pacer, first_day, last_day):
        try:
            with bucket.verified(name) as copy:
                totals.objects += 1
                if dry_run:
                    totals.messages += copy.facts.checksum.count
                    continue
                for messages in copy.messages():
                    _put_back(context.engine, messages, totals)
                    totals.chats |= {message.chat_id for message in messages}
        except ArchiveError as error:
            log.error("object_skipped", function="restore", error=str(error))
            errors.append(error)
    for chat_id in sorted(totals.chats):
        in_halves(lambda one: number_messages(context.engine, pacer, one[0], after=0), [chat_id], _skip_chat)
    if errors:
        raise errors[0]
    return totals.summary()


def _skip_chat(chat_id: UUID, error: Exception) -> None:
    """Its messages are restored, only counting them takes longer."""
    log.error("row_skipped", function="restore", table="chats", key=str(chat_id), error=type(error).__name__)


def _objects(bucket: ArchiveBucket, pacer: Pacer, first_day: date, last_day: date) -> Iterator[ObjectName]:
    """Yield the objects of some days until the run is out of time."""
    for number in range((last_day - first_day).days + 1):
        if pacer.out_of_time:
            return
        names = bucket.objects(first_day + timedelta(days=number))
        yield from takewhile(lambda _: not pacer.out_of_time, names)


def _put_back(engine: Engine, messages: Sequence[ArchivedMessage], totals: _Totals) -> None:
    """Store messages, but for those that the database refuses. Raises ArchiveError if rows stay locked."""

    def insert(some: Sequence[ArchivedMessage]) -> None:
        inserted, stored = patiently(engine, lambda conn: _insert(conn, some))
        totals.messages += inserted
        totals.skipped += len(some) - stored

    def skip(message: ArchivedMessage, error: Exception) -> None:
        log.error("message_skipped", function="restore", id=str(message.id), error=type(error).__name__)
        totals.skipped += 1

    in_halves(insert, messages, skip)


def _insert(conn: Connection, messages: Sequence[ArchivedMessage]) -> tuple[int, int]:
    """Store messages. Return how many were inserted, and how many of them are stored now."""
    conn.execute(_COUNT_ONE_BY_ONE, key_columns(messages))
    # With the chats locked: an erasure that begins later finds these messages.
    messages = _without_erased(conn, messages)
    columns = _columns(messages)
    inserted = conn.execute(_INSERT, columns).rowcount
    if any(message.change is not None for message in messages):
        conn.execute(_RENEW, columns)
    return inserted, _note_restored(conn, messages)


def _without_erased(conn: Connection, messages: Sequence[ArchivedMessage]) -> list[ArchivedMessage]:
    """Return the messages without what users wrote who are erased: their object may be older than that."""
    people = {user_id for message in messages for user_id in (message.sender_id, message.recipient_id)}
    left = list(messages)
    for user_id, began in conn.execute(_ERASED, {"users": list(people)}):
        left = [
            without_traces(one, user_id, began, one.change) if has_traces(one, user_id, began) else one
            for one in left
        ]
    return left


def _note_restored(conn: Connection, messages: Sequence[ArchivedMessage]) -> int:
    """Remove messages that are stored again from `archived_chats`. Return how many of them are stored."""
    params = key_columns(messages)
    stored = int(conn.execute(_NOTE_RESTORED, params).scalar_one())
    conn.execute(_PRUNE, {"chats": params["chats"]})
    return stored


def _columns(messages: Sequence[ArchivedMessage]) -> dict[str, Any]:
    return {
        **key_columns(messages),
        "senders": [message.sender_id for message in messages],
        "recipients": [message.recipient_id for message in messages],
        "texts": [message.text for message in messages],
        "client_ids": [message.client_id for message in messages],
        "times": [message.created_at for message in messages],
        "data": [message.data for message in messages],
        "replies": [message.reply_to for message in messages],
        "changes": [message.change for message in messages],
        "edited": [message.edited_at for message in messages],
        "deleted": [message.deleted_at for message in messages],
        "reactions": [_json(message.reactions) for message in messages],
        "kinds": [message.kind for message in messages],
    }


def _json(reactions: list[list[str]] | None) -> str | None:
    return None if reactions is None else msgspec.json.encode(reactions).decode()
