"""Erases a user's messages from the archive: objects that hold some are written anew, one after another.

A message keeps its place in its object as a tombstone, with the next change of its chat, so that it counts
wherever it is restored. Notes to self are left out: their chat is gone.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from tempfile import TemporaryFile
from typing import Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection, Engine, text

from functions.archive.bucket import ArchiveBucket, VerifiedCopy
from functions.archive.layout import ObjectName
from functions.archive.message_file import ArchivedMessage, write_messages
from functions.archive.patience import patiently
from functions.erasure import record
from functions.erasure.tombstone import has_traces, is_note, without_traces
from functions.errors import ArchiveError
from functions.pacer import Pacer
from infra.store.erasures import Erasure

log = structlog.get_logger(__name__)

SETTLED_S: Final = 86_400
"""Longer than any run of `archive`: one that began before an erasure has written its last object by then."""
_CLOCKS: Final = timedelta(hours=1)
"""More than the clocks of S3 and Postgres differ."""

_OLD_VERSIONS: Final = "archive.old_versions_kept"

_NEXT_CHANGES = text(
    """
    UPDATE chats c SET change = c.change + erased.messages
    FROM (
        SELECT chat_id, messages
        FROM unnest(CAST(:chats AS uuid[]), CAST(:counts AS bigint[])) AS erased (chat_id, messages)
        ORDER BY chat_id
    ) erased
    WHERE c.id = erased.chat_id
    RETURNING c.id, c.change - erased.messages AS change
    """
)
_UNSETTLED = text(
    "SELECT user_id FROM erasures WHERE NOT archive_settled AND finished_at IS NOT NULL ORDER BY random()"
)
"""In another order each time, so that all have their turn even if there is no time for all of them."""
_SETTLE = text(
    """
    UPDATE erasures SET archive_settled = true
    WHERE user_id = :user AND started_at = :started AND started_at < now() - make_interval(secs => :settled_s)
    """
)


class _Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the walk through the archive has come."""

    after: str = ""
    """Path of the last object that is done."""
    writing: str = ""
    """Path of the one that was about to be written anew."""
    messages: int = 0
    """How many messages are erased from it."""
    failed: bool = False
    """Whether an object before could not be read."""


@dataclass
class ArchiveErasure:
    """Walks through all objects of the archive."""

    engine: Engine
    bucket: ArchiveBucket
    pacer: Pacer
    erasure: Erasure
    note: Callable[[Connection, str], None]
    """Remembers a place."""
    written_since: datetime | None = None
    """Objects that were written before are left alone."""
    _kept_versions: bool = False
    """Whether S3 has refused to delete old versions."""

    @property
    def _purges(self) -> bool:
        """Whether an earlier run had to leave old versions, so that those of all objects are tried again.

        Nothing but erasures writes an object a second time.
        """
        return self.erasure.counts.get(_OLD_VERSIONS, 0) > 0

    def run(self, place: str | None) -> bool:
        """Go on after a place. Return False if the run is out of time.

        Raises ArchiveError in the end if an object is not what was written, and what boto3 and SQLAlchemy
        raise.
        """
        at = _Place() if place is None else msgspec.json.decode(place, type=_Place)
        for name, written_at in self.bucket.every_object(at.after):
            if self.pacer.out_of_time:
                self._move(at)  # also behind objects in which there was nothing to erase
                return False
            if self.written_since is None or written_at >= self.written_since:
                at = self._erase(name, at)
                self.pacer.pause()
        if place is None and self.written_since is None and self._purges and not self._kept_versions:
            with self.engine.begin() as conn:
                record.count(conn, self.erasure.user_id, {_OLD_VERSIONS: -self.erasure.counts[_OLD_VERSIONS]})
        if at.failed:
            # The next try looks at all of them again.
            self._move(_Place())
            raise ArchiveError("objects of the archive cannot be read; see object_skipped in the log")
        return True

    def _erase(self, name: ObjectName, at: _Place) -> _Place:
        """Erase the user from an object. Return the place behind it."""
        was_written = at.writing == name.path
        erased = at.messages if was_written else 0
        failed = at.failed
        try:
            erased = self._rewrite(name, at) or erased
        except ArchiveError as error:
            log.error("object_skipped", function="erasure", error=str(error))
            failed, erased = True, 0
        are_kept = bool(erased or self._purges) and not self.bucket.delete_old_versions(name)
        self._kept_versions |= are_kept
        done = _Place(after=name.path, failed=failed)
        if erased or failed:
            counts = {
                "archive.messages": erased,
                "archive.objects": int(erased > 0),
                _OLD_VERSIONS: int(erased > 0 and are_kept),
            }
            self._move(done, counts)
        return done

    def _rewrite(self, name: ObjectName, at: _Place) -> int:
        """Write an object anew if it holds something of the user. Return how many messages have changed."""
        while True:
            with self.bucket.verified(name) as copy:
                messages = sum(self._is_touched(one) for batch in copy.messages() for one in batch)
                if not messages:
                    return 0
                self._move(_Place(at.after, name.path, messages, at.failed))
                with TemporaryFile() as file:
                    write_messages(file, self._scrubbed(copy))
                    if self.bucket.replace(name, copy, file):
                        return messages

    def _is_touched(self, message: ArchivedMessage) -> bool:
        return is_note(message, self.erasure.user_id) or self._needs_change(message)

    def _needs_change(self, message: ArchivedMessage) -> bool:
        """Return whether a message has something of the user's that has to go."""
        erasure = self.erasure
        return erasure.deletes and has_traces(message, erasure.user_id, erasure.started_at)

    def _scrubbed(self, copy: VerifiedCopy) -> Iterator[list[ArchivedMessage]]:
        """Yield the messages of an object as they are to be."""
        user_id = self.erasure.user_id
        for batch in copy.messages():
            left = [message for message in batch if not is_note(message, user_id)]
            changes = self._next_changes([one.chat_id for one in left if self._needs_change(one)])
            scrubbed = [self._scrub(one, changes) if self._needs_change(one) else one for one in left]
            if scrubbed:
                yield scrubbed

    def _scrub(self, message: ArchivedMessage, changes: dict[UUID, int]) -> ArchivedMessage:
        """Return what is left of a message, under the next change of its chat if that still exists."""
        change = message.change
        if message.chat_id in changes:
            changes[message.chat_id] += 1
            change = changes[message.chat_id]
        return without_traces(message, self.erasure.user_id, self.erasure.started_at, change)

    def _next_changes(self, chat_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Take as many changes of each chat. Return those before the first of them."""
        if not chat_ids:
            return {}
        counts = sorted(Counter(chat_ids).items())
        params = {"chats": [chat_id for chat_id, _ in counts], "counts": [number for _, number in counts]}
        rows = patiently(self.engine, lambda conn: conn.execute(_NEXT_CHANGES, params).all())
        return {row.id: row.change for row in rows}

    def _move(self, place: _Place, counts: dict[str, int] | None = None) -> None:
        with self.engine.begin() as conn:
            self.note(conn, msgspec.json.encode(place).decode())
            record.count(conn, self.erasure.user_id, counts or {})


def erase_again(engine: Engine, bucket: ArchiveBucket, pacer: Pacer) -> list[ArchiveError]:
    """Erase from objects that were written during and after erasures, until they are a day old.

    A run of `archive` that was under way may have read messages before they were erased. Returns the
    errors of users whose objects cannot all be read; the other users are done. Raises what boto3 and
    SQLAlchemy raise.
    """
    errors = []
    with engine.begin() as conn:
        user_ids = list(conn.execute(_UNSETTLED).scalars())
    for user_id in user_ids:
        erasure = record.find(engine, user_id)
        if erasure is None:
            continue
        try:
            _erase_new_objects(engine, bucket, pacer, erasure)
        except ArchiveError as error:
            errors.append(error)
    return errors


def _erase_new_objects(engine: Engine, bucket: ArchiveBucket, pacer: Pacer, erasure: Erasure) -> None:
    walk = ArchiveErasure(engine, bucket, pacer, erasure, _note_nothing, erasure.started_at - _CLOCKS)
    if walk.run(None):
        params = {"user": erasure.user_id, "started": erasure.started_at, "settled_s": SETTLED_S}
        with engine.begin() as conn:
            conn.execute(_SETTLE, params)


def _note_nothing(_: Connection, __: str) -> None:
    """Begin at the first object again if the run dies."""
