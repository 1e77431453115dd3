"""Says what an erasure has done: what was erased from each store, and what was left, and why."""

from datetime import datetime

from infra.store.erasures import Erasure
from infra.wire.events import Left, Manifest, iso_ms


def _left(what: str, why: str) -> Left:
    return Left(what=what, why=why)


_ALWAYS = (
    _left("ids of requests about chats", "the last ones of both members, which name nobody"),
    _left("backups and copies of the database and of Redis", "they end with your own retention"),
    _left("files that the data of messages names", "they are where the app has put them: delete them there"),
    _left(
        "what peers have on their devices",
        "apps hear of each change, but not of archived messages",
    ),
    _left(
        "what providers of notifications hold",
        "it was handed over; what devices show is replaced where they allow it",
    ),
)
_DELETED = (
    _left("tombstones: place, time, both ids", "peers keep their side of the chat, without holes"),
    _left("reports: who, whom, when, the reason, what the other one wrote", "REPORT_DAYS"),
    _left("messages of peers, also where they quote or name the user in words", "they are the peers' own"),
)
_ANONYMISED = (
    _left("messages, data and reactions, and copies of them in reports", "the mode is anonymise"),
    _left("the id of the user", "it tells the two sides of a chat apart; the name is gone"),
)


def make_manifest(erasure: Erasure, *, connected: bool, archive_open: bool) -> Manifest:
    """Return the manifest of an erasure as it is now."""
    left = [*(_DELETED if erasure.deletes else _ANONYMISED), *_ALWAYS]
    if connected:
        why = "the user is still connected: delete them where they sign in, and run `bbgram user delete`"
        left.append(_left("where the user is connected", why))
    if not archive_open:
        left.append(_left("the archive", "BBGRAM_ARCHIVE_BUCKET is not set; nothing is known to be there"))
    elif not erasure.archive_settled:
        why = "the next runs of archive erase them"
        left.append(_left("objects that a run of archive is writing meanwhile", why))
    if erasure.counts.get("archive.old_versions_kept"):
        left.append(
            _left("old versions of objects", "S3 refused to delete them: allow it, run `bbgram user delete`")
        )
    return Manifest(
        user_id=str(erasure.user_id),
        mode=erasure.mode,
        complete=erasure.finished_at is not None,
        started_at=iso_ms(erasure.started_at),
        finished_at=_time(erasure.finished_at),
        counts=_by_store(erasure.counts),
        left=left,
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else iso_ms(moment)


def _by_store(counts: dict[str, int]) -> dict[str, dict[str, int]]:
    stores: dict[str, dict[str, int]] = {"postgres": {}, "redis": {}, "archive": {}}
    for key, number in sorted(counts.items()):
        store, _, kind = key.partition(".")
        stores[store][kind] = number
    return stores
