"""Erases a user, step by step. Each step can be repeated; a run goes on where the last one was cut short.

What was erased is counted in the transaction that erases it: the counts are right however often a run dies.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from functions.archive.bucket import ArchiveBucket
from functions.context import Context
from functions.erasure import outbox, record, reports, rows, streams
from functions.erasure.archive import ArchiveErasure
from functions.erasure.chats import Announcer, ChatErasure
from functions.erasure.manifest import make_manifest
from functions.pacer import Pacer
from infra.settings.base import SettingsError
from infra.store import erasures
from infra.store.erasures import FIRST_STEP, Erasure, Mode
from infra.wire.events import Manifest

log = structlog.get_logger(__name__)

SETTLE_S: Final = 15.0
"""Longer than workers take to notice a deleted user, and to finish what they have begun for one."""

_HAS_ARCHIVED = text(
    """
    SELECT EXISTS (
        SELECT FROM archived_chats a JOIN chats c ON c.id = a.chat_id
        WHERE c.user_lo = :user OR c.user_hi = :user
    )
    """
)
_SINCE_START_S = text(
    """
    SELECT CAST(extract(epoch FROM now() - started_at) AS double precision)
    FROM erasures WHERE user_id = :user
    """
)


def erase(
    context: Context,
    pacer: Pacer,
    announcer: Announcer,
    user_id: UUID,
    mode: Mode,
    *,
    settle_s: float = SETTLE_S,
    unread_s: float = streams.UNREAD_S,
) -> Manifest:
    """Erase a user, or go on with it; return what was done so far. `complete` says whether that is all.

    `settle_s` is how long others may still finish what they do for the user, and `unread_s` how long an edge
    may take to read what was published. Raises ErasureRefused, SettingsError without Redis, or without the
    bucket if messages are archived, ArchiveError if an object cannot be read, and what SQLAlchemy, redis and
    boto3 raise; then it can be repeated.
    """
    _require(context, user_id)
    erasure = record.begin(context.engine, user_id, mode)
    return _Job(context, pacer, announcer, erasure, settle_s, unread_s).run()


def go_on(context: Context, pacer: Pacer, announcer: Announcer, user_id: UUID) -> bool:
    """Go on with an erasure, as far as that is possible without a wait. Return whether it is finished.

    Raises what `erase` raises.
    """
    _require(context, user_id)
    erasure = record.find(context.engine, user_id)
    if erasure is None or erasure.finished_at is not None:
        return True
    return _Job(context, pacer, announcer, erasure, SETTLE_S, streams.UNREAD_S, waits=False).run().complete


def _require(context: Context, user_id: UUID) -> None:
    """Raise SettingsError without Redis, or if messages of the user are in an archive that is not named."""
    _ = context.redis
    if context.settings.archive_bucket is not None:
        return
    with context.engine.connect() as conn:
        if conn.execute(_HAS_ARCHIVED, {"user": user_id}).scalar_one():
            raise SettingsError(
                "BBGRAM_ARCHIVE_BUCKET is not set, and messages of the user are in the archive."
            )


@dataclass(frozen=True)
class _Job:
    """One run of an erasure. A step returns False if the run is out of time."""

    context: Context
    pacer: Pacer
    announcer: Announcer
    erasure: Erasure
    settle_s: float
    unread_s: float
    waits: bool = True
    """Whether a step that must wait for others does so. If not, it ends the run."""

    @cached_property
    def bucket(self) -> ArchiveBucket | None:
        """The archive, if there is one."""
        if self.context.settings.archive_bucket is None:
            return None
        return ArchiveBucket.connect(self.context.settings)

    def run(self) -> Manifest:
        """Go on with the erasure. Return what was done so far."""
        user_id, engine = self.erasure.user_id, self.context.engine
        is_finished = self._do_steps()
        connected = streams.is_connected(self.context.redis, user_id, self.context.settings.redis_prefix)
        with engine.begin() as conn:
            found = record.finish(conn, self.erasure) if is_finished else erasures.find(conn, user_id)
            manifest = make_manifest(
                found or self.erasure, connected=connected, archive_open=self.bucket is not None
            )
            if is_finished:
                record.keep(conn, manifest)
        log.info("user_erased", user_id=str(user_id), mode=self.erasure.mode, complete=manifest.complete)
        return manifest

    def _do_steps(self) -> bool:
        """Do one step after another, from the one that is under way. Return whether all are done."""
        names = list(_STEPS)
        place = self.erasure.place
        for name in names[names.index(self.erasure.step) :]:
            self._move(name, place)
            if not _STEPS[name](self, place) or self.pacer.out_of_time:
                return False
            place = None
        return True

    def take_name(self, _: str | None) -> bool:
        """Have workers refuse what the user sends, and wait until they do."""
        rows.take_name(self.context.engine, self.erasure.user_id)
        return self._has_waited(self.settle_s)

    def chats(self, place: str | None) -> bool:
        """Erase messages, and what the user has set in chats."""
        walk = ChatErasure(self.context.engine, self.pacer, self.announcer, self.erasure, "chats")
        return walk.run(place)

    def rows(self, _: str | None) -> bool:
        """Erase what is the user's alone."""
        return rows.delete_rows(self.context.engine, self.pacer, self.erasure)

    def reports(self, place: str | None) -> bool:
        """Erase copies of messages."""
        return reports.erase_copies(self.context.engine, self.pacer, self.erasure, place)

    def outbox(self, place: str | None) -> bool:
        """Erase what webhooks have not told yet."""
        return outbox.erase_facts(self.context.engine, self.pacer, self.erasure, place)

    def archive(self, place: str | None) -> bool:
        """Erase archived messages."""
        if self.bucket is None:
            return True

        def note(conn: Connection, at: str) -> None:
            record.move(conn, self.erasure, "archive", at)

        return ArchiveErasure(self.context.engine, self.bucket, self.pacer, self.erasure, note).run(place)

    def profile(self, _: str | None) -> bool:
        """Delete the profile, up to the tombstone."""
        rows.delete_profile(self.context.engine, self.erasure)
        return True

    def redis(self, _: str | None) -> bool:
        """Erase what was published, once all edges have read it, and where the user was connected."""
        prefix = self.context.settings.redis_prefix
        if not self._has_waited(self.settle_s + self.unread_s):
            return False
        seconds, micros = self.context.redis.time()
        until_ms = int(seconds) * 1000 + int(micros) // 1000 - int(self.unread_s * 1000)
        erased = {"redis.entries": streams.trim_streams(self.context.redis, until_ms, prefix)}
        if not streams.is_connected(self.context.redis, self.erasure.user_id, prefix):
            places = streams.forget_user(self.context.redis, self.erasure.user_id, prefix)
            erased["redis.places"] = places
        with self.context.engine.begin() as conn:
            record.count(conn, self.erasure.user_id, erased)
        return True

    def _has_waited(self, seconds: float) -> bool:
        """Return whether so many seconds have passed since the erasure began. Wait for that if it `waits`."""
        with self.context.engine.connect() as conn:
            passed = conn.execute(_SINCE_START_S, {"user": self.erasure.user_id}).scalar_one()
        if self.waits:
            time.sleep(max(0.0, seconds - passed))
        return self.waits or passed >= seconds

    def _move(self, step: str, place: str | None) -> None:
        with self.context.engine.begin() as conn:
            record.move(conn, self.erasure, step, place)


_STEPS: Final[dict[str, Callable[[_Job, str | None], bool]]] = {
    FIRST_STEP: _Job.take_name,
    "chats": _Job.chats,
    "rows": _Job.rows,
    "reports": _Job.reports,
    "outbox": _Job.outbox,
    "archive": _Job.archive,
    "profile": _Job.profile,
    "redis": _Job.redis,
}
"""In this order: what is copied meanwhile, to reports or to the archive, is erased already."""
