"""Exports what the chat holds of a user: one JSON object per line, each with a `type`.

Everything is read in one transaction, so that it fits together, in pages: memory is the same for any number
of messages. A message that the archive holds twice comes twice; the last change counts.
"""

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from functions.archive.bucket import ArchiveBucket
from functions.archive.message_file import ArchivedMessage
from functions.context import Context
from functions.people import Person
from infra.store.export import message_lines, read_page
from infra.wire.export import Line

BATCH: Final = 250
"""Rows that are held in memory at a time."""

_PATIENCE: Final = text("SELECT set_config('idle_in_transaction_session_timeout', '10min', true)")
"""Whoever reads the lines may be slow, and objects of the archive are downloaded in between."""

_NOT_STORED = text(
    """
    SELECT archived.id
    FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]))
        AS archived (chat_id, seq, id)
    WHERE NOT EXISTS (
        SELECT FROM messages m
        WHERE m.chat_id = archived.chat_id AND m.seq = archived.seq AND m.id = archived.id
    )
    """
)
_encoder = msgspec.json.Encoder()


def export_lines(context: Context, person: Person) -> Iterator[bytes]:
    """Yield the export of a user line by line, each with its line break.

    Reads the archive if there is one. Raises ArchiveError for an object that is not what was written, and
    what SQLAlchemy and boto3 raise: then the export is not complete.
    """
    for line in _export(context, person):
        yield _encoder.encode(line) + b"\n"


def _export(context: Context, person: Person) -> Iterator[Line]:
    engine = context.engine.execution_options(isolation_level="REPEATABLE READ")
    reads_archive = context.settings.archive_bucket is not None
    with engine.begin() as conn:
        conn.execute(_PATIENCE)
        cursor = None
        while True:
            lines, cursor = read_page(conn, person.id, cursor, BATCH, archived=not reads_archive)
            yield from lines
            if cursor is None:
                break
        if reads_archive:
            yield from _archived(conn, ArchiveBucket.connect(context.settings), person.id)


def _archived(conn: Connection, bucket: ArchiveBucket, user_id: UUID) -> Iterator[Line]:
    """Yield the user's messages that are in the archive, and were not in Postgres when the export began."""
    for name, _ in bucket.every_object():
        with bucket.verified(name) as copy:
            for batch in copy.messages():
                own = [one for one in batch if user_id in (one.sender_id, one.recipient_id)]
                missing = _not_stored(conn, own)
                for message in own:
                    if message.id in missing:
                        yield from message_lines(message, archived=True)


def _not_stored(conn: Connection, messages: Sequence[ArchivedMessage]) -> set[UUID]:
    if not messages:
        return set()
    params = {
        "chats": [message.chat_id for message in messages],
        "seqs": [message.seq for message in messages],
        "ids": [message.id for message in messages],
    }
    return set(conn.execute(_NOT_STORED, params).scalars())
