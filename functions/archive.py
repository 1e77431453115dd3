"""`archive`: moves old messages to S3, an object a UTC day and shard.

Nothing is deleted that was not read back from S3 before. Whatever a run leaves half done, the next one
finds: it deletes what is in the objects of a day before it writes another one. Two runs at once cannot
write the same object, and the slower one starts over.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from tempfile import TemporaryFile

from sqlalchemy import Engine

from functions.archive_lines import Seal, write_lines
from functions.archive_rows import ShardRows, delete_lines
from functions.archive_store import ArchiveStore, Part, Shard
from functions.context import Context, Stopwatch, Summary


@dataclass
class _Tally:
    """What the run has done so far."""

    messages: int = 0
    objects: int = 0
    bytes: int = 0
    recovered: int = 0
    days: set[date] = field(default_factory=set)

    def summary(self) -> Summary:
        return {
            "messages": self.messages,
            "objects": self.objects,
            "bytes": self.bytes,
            "days": len(self.days),
            "recovered": self.recovered,
        }


def archive(context: Context, watch: Stopwatch, dry_run: bool) -> Summary:
    """Move what is older than `archive_days`, oldest day first.

    Returns the messages, objects, compressed bytes and days, and as `recovered` the rows that were in
    objects of an earlier run. Raises SettingsError without a bucket and ArchiveError on an object
    that is not what was written.
    """
    settings = context.settings
    store = ArchiveStore.connect(settings)
    tally = _Tally()
    for number in range(settings.archive_shards):
        shard = Shard(number, settings.archive_shards)
        rows = ShardRows(context.engine, watch, shard, settings.archive_days)
        if dry_run:
            _count(rows, tally)
        else:
            _Archiver(context.engine, store, watch, rows, tally).run()
    return tally.summary()


def _count(rows: ShardRows, tally: _Tally) -> None:
    """Count what would be moved."""
    days = Counter(date.fromisoformat(line.created_at[:10]) for lines in rows.lines(None) for line in lines)
    tally.messages += days.total()
    tally.objects += len(days)
    tally.days |= days.keys()


@dataclass(frozen=True)
class _Archiver:
    """Archives one shard."""

    engine: Engine
    store: ArchiveStore
    watch: Stopwatch
    rows: ShardRows
    tally: _Tally

    def run(self) -> None:
        """Move one day after the other."""
        day = self.rows.next_day(date.min)
        while day is not None and not self.watch.is_over:
            self._move(day)
            day = self.rows.next_day(day)

    def _move(self, day: date) -> None:
        """Move what there is of a day; again when another run has written an object meanwhile."""
        moved = False
        while not moved:
            parts = self._parts(day)
            if not all(self._recover(part) for part in parts):
                return
            numbers = [part.number for part in parts if part.shard == self.rows.shard]
            moved = self._write(Part(day, self.rows.shard, 1 + max(numbers, default=0)))

    def _parts(self, day: date) -> list[Part]:
        """Return the objects that may hold messages of this shard: other numbers of shards count too."""
        shard = self.rows.shard
        return [part for part in self.store.parts(day) if part.shard == shard or part.shard.of != shard.of]

    def _recover(self, part: Part) -> bool:
        """Delete what an object of an earlier run holds; return whether that was done to the end."""
        deleted, done = self._clear(part)
        self.tally.recovered += deleted
        return done

    def _write(self, part: Part) -> bool:
        """Move the rows of a day into a new object; return False when there is one of this name."""
        with TemporaryFile() as file:
            seal = write_lines(file, self.rows.lines(part.day))
            if seal.count and not self.store.put(part, file, seal):
                return False
        if seal.count:
            deleted, _ = self._clear(part, seal)
            self.tally.messages += deleted
            self.tally.objects += 1
            self.tally.days.add(part.day)
        return True

    def _clear(self, part: Part, written: Seal | None = None) -> tuple[int, bool]:
        """Delete the rows that are in an object; return how many, and whether that is all of them."""
        deleted = 0
        with self.store.verified(part, written) as copy:
            self.store.put_manifest(part, copy.facts)
            self.tally.bytes += copy.facts.size if written else 0
            for lines in copy.lines():
                if deleted and self.watch.is_over:
                    return deleted, False
                deleted += delete_lines(self.engine, part.day, lines)
                self.watch.rest()
        return deleted, True
