"""`archive`: moves old messages to S3, one object per UTC day and shard.

Nothing is deleted before it is read back from S3. A run first completes what an earlier run left half done:
it deletes what the objects of a day already hold, then writes the next one. Two runs cannot write the same
object at once; the slower one starts over. A day whose objects are damaged is left
alone, and so is a row that cannot be deleted; the others go on.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from tempfile import TemporaryFile
from typing import Final

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from functions import metrics
from functions.archive.bucket import ArchiveBucket
from functions.archive.deletion import delete_messages
from functions.archive.layout import ObjectName, Shard
from functions.archive.message_file import ArchivedMessage, Checksum, write_messages
from functions.archive.selection import Selection
from functions.context import Context, Summary
from functions.data_errors import in_halves, is_data_error
from functions.erasure.archive import erase_again
from functions.errors import ArchiveError
from functions.pacer import Pacer

log = structlog.get_logger(__name__)

_SETTLED_S: Final = 3_600
"""Longer than any transaction: one that began while a text could be changed has ended by then."""
_ERASURES_SHARE: Final = 0.5
"""The share of a run that looking for erased users may take."""


@dataclass
class _Totals:
    """Counts of what the run has done so far."""

    messages: int = 0
    objects: int = 0
    bytes: int = 0
    recovered: int = 0
    errors: list[ArchiveError] = field(default_factory=list)
    days: set[date] = field(default_factory=set)

    def summary(self) -> Summary:
        return {
            "messages": self.messages,
            "objects": self.objects,
            "bytes": self.bytes,
            "days": len(self.days),
            "recovered": self.recovered,
        }


def archive(context: Context, pacer: Pacer, dry_run: bool) -> Summary:
    """Archive messages older than `archive_days` days, oldest day first.

    Returns the number of messages, objects, compressed bytes and days, and as `recovered` how many rows
    were deleted because an earlier run had already archived them. Raises SettingsError without a bucket, what
    boto3 and SQLAlchemy raise, and at the end ArchiveError for the first object that is not what was written.
    """
    settings = context.settings
    bucket = ArchiveBucket.connect(settings)
    totals = _Totals()
    if not dry_run:
        totals.errors += erase_again(context.engine, bucket, pacer.part(_ERASURES_SHARE))
    for number in range(settings.archive_shards):
        shard = Shard(number, settings.archive_shards)
        selection = Selection(
            context.engine, pacer, shard, settings.archive_days, settings.changeable_s + _SETTLED_S
        )
        if dry_run:
            _count(selection, totals)
        else:
            _ShardArchiver(context.engine, bucket, pacer, selection, totals).run()
    if totals.errors:
        raise totals.errors[0]
    return totals.summary()


def _count(selection: Selection, totals: _Totals) -> None:
    """Count what would be archived."""
    batches = selection.messages(None)
    days = Counter(date.fromisoformat(message.created_at[:10]) for batch in batches for message in batch)
    totals.messages += days.total()
    totals.objects += len(days)
    totals.days |= days.keys()


@dataclass(frozen=True)
class _ShardArchiver:
    """Archives one shard."""

    engine: Engine
    bucket: ArchiveBucket
    pacer: Pacer
    selection: Selection
    totals: _Totals

    def run(self) -> None:
        """Archive one day after another."""
        day = self.selection.next_day(date.min)
        while day is not None and not self.pacer.out_of_time:
            try:
                self._archive_day(day)
            except ArchiveError as error:
                self._skip(error)
            except DBAPIError as error:
                if not is_data_error(error):
                    raise
                self._skip(ArchiveError(f"{day} cannot be archived: {type(error.orig).__name__}"))
            day = self.selection.next_day(day)

    def _skip(self, error: ArchiveError) -> None:
        """Log what is left alone, and go on. The run fails in the end."""
        log.error("object_skipped", function="archive", error=str(error))
        self.totals.errors.append(error)

    def _archive_day(self, day: date) -> None:
        """Archive a day, and start over if another run has written an object of it in the meantime."""
        written = False
        while not written:
            names = self._existing(day)
            if not all(self._recover(name) for name in names):
                return
            numbers = [name.number for name in names if name.shard == self.selection.shard]
            written = self._write(ObjectName(day, self.selection.shard, 1 + max(numbers, default=0)))

    def _existing(self, day: date) -> list[ObjectName]:
        """Return the objects that may hold messages of this shard, even from other numbers of shards."""
        shard = self.selection.shard
        return [name for name in self.bucket.objects(day) if name.shard == shard or name.shard.of != shard.of]

    def _recover(self, name: ObjectName) -> bool:
        """Delete the rows that an existing object holds. Return whether none of them is left."""
        deleted, complete = self._delete(name)
        self.totals.recovered += deleted
        return complete

    def _write(self, name: ObjectName) -> bool:
        """Move the rows of a day into a new object. Return False if the object already exists."""
        with TemporaryFile() as file:
            checksum = write_messages(file, self.selection.messages(name.day))
            if checksum.count and not self.bucket.put(name, file, checksum):
                return False
        if checksum.count:
            deleted, _ = self._delete(name, checksum)
            self.totals.messages += deleted
            metrics.ARCHIVED_MESSAGES.inc(deleted)
            self.totals.objects += 1
            self.totals.days.add(name.day)
        return True

    def _delete(self, name: ObjectName, written: Checksum | None = None) -> tuple[int, bool]:
        """Delete the rows that an object holds. Return how many, and whether none of them is left."""
        deleted = 0
        kept: list[Exception] = []

        def delete(messages: Sequence[ArchivedMessage]) -> int:
            return delete_messages(self.engine, name.day, messages)

        with self.bucket.verified(name, written) as copy:
            self.bucket.put_manifest(name, copy.facts)
            if written:
                self.totals.bytes += copy.facts.size
                metrics.ARCHIVED_BYTES.inc(copy.facts.size)
            for messages in copy.messages():
                if deleted and self.pacer.out_of_time:
                    return deleted, False
                deleted += sum(in_halves(delete, messages, lambda _, error: kept.append(error)))
                self.pacer.pause()
        if kept:
            reason = type(kept[0]).__name__
            self._skip(ArchiveError(f"{len(kept)} rows of {name.path} cannot be deleted: {reason}"))
        return deleted, not kept
