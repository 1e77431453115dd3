"""Reads the stream of results and events that workers write for this edge."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from redis import RedisError
from redis.asyncio import Redis

from infra.outage import Outage, reason, redis_address
from infra.presence import REGISTRY_TTL_S
from infra.wire import names
from infra.wire.clock import RedisClock
from infra.wire.inbox import VERSION, InboxEntry, decode_entry
from socket_edge import metrics

log = structlog.get_logger(__name__)

_BLOCK_MS = 2_000
_COUNT = 8
"""Entries to read at once. One may hold half a megabyte."""
_PAUSE_S = 0.5
_FIRST_ID = b"0-1"
"""Id of the entry that creates an empty stream. All others are greater."""


class Inbox:
    """A stream reader that resumes where it stopped, even after a reconnect."""

    def __init__(
        self,
        redis: Redis,
        edge_id: str,
        clock: RedisClock,
        take: Callable[[InboxEntry], None],
        prefix: str = "",
    ) -> None:
        self._redis = redis
        self._key = prefix + names.inbox_key(edge_id)
        self._clock = clock
        self._take = take
        self._last_id = _FIRST_ID
        self._entries_read = 0
        self._generation = 0
        self._newer: set[int] = set()
        """Versions that were too new, and were logged."""
        self._exists = asyncio.Event()
        self.reading = False
        """Whether the last attempt to read succeeded."""
        self.lag_s = 0.0
        """How long ago the entry that was read last had been published."""

    async def create(self) -> None:
        """Create the stream, empty. Workers only add to a stream that exists. Raises redis.RedisError."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.delete(self._key)
        pipe.xadd(self._key, {names.INBOX_FIELD: b""}, id=_FIRST_ID)
        pipe.xdel(self._key, _FIRST_ID)
        pipe.expire(self._key, REGISTRY_TTL_S)
        await pipe.execute()
        self._last_id = _FIRST_ID
        self._entries_read = 1
        self._generation += 1
        self._exists.set()

    async def wait_created(self) -> None:
        """Return once there is a stream that workers can write to."""
        await self._exists.wait()

    async def has_lost_entries(self) -> bool:
        """Delete what has been read; tell whether anything else is missing. Raises redis.RedisError."""
        last_id, entries_read = self._last_id, self._entries_read
        if not await self._redis.exists(self._key):
            return True
        milliseconds, number = _parts(last_id)
        await self._redis.xtrim(self._key, minid=f"{milliseconds}-{number + 1}", approximate=False)
        info = await self._redis.xinfo_stream(self._key)
        # The stream now holds what had not been read. If fewer entries were added than were read, Redis has
        # come back without its last seconds.
        is_complete = info["entries-added"] - entries_read == info["length"]
        return not is_complete or _parts(info["last-generated-id"]) < (milliseconds, number)

    async def run(self) -> None:
        """Read and hand over entry after entry, until cancelled."""
        outage = Outage("inbox")
        await self._exists.wait()
        while True:
            generation = self._generation
            # The first read does not block: an edge is ready at once, and again as soon as Redis is back.
            block_ms = _BLOCK_MS if self.reading else None
            try:
                answer: Any = await self._redis.xread({self._key: self._last_id}, _COUNT, block_ms)
            except (RedisError, OSError) as error:
                self.reading = False
                if outage.begins():
                    log.warning("inbox_unreadable", address=redis_address(self._redis), error=reason(error))
                await asyncio.sleep(_PAUSE_S)
                continue
            self.reading = True
            outage.ends()
            for _, entries in answer:
                for entry_id, fields in entries:
                    if generation == self._generation:
                        self._last_id = entry_id
                        self._entries_read += 1
                    self._hand_over(entry_id, fields.get(names.INBOX_FIELD, b""))
                    await asyncio.sleep(0)

    def _hand_over(self, entry_id: bytes, data: bytes) -> None:
        try:
            entry = decode_entry(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            metrics.UNREAD_ENTRIES.labels("broken").inc()
            log.error("inbox_entry_unreadable", error=str(error))
            return
        if entry.is_too_new:
            self._note_version(entry.v)
        self._take(entry)
        self._measure(entry_id, entry)

    def _note_version(self, version: int) -> None:
        """Say once for each version that it is too new. The sweep delivers again what was in the entry."""
        metrics.UNREAD_ENTRIES.labels("too_new").inc()
        if version not in self._newer:
            self._newer.add(version)
            log.error("inbox_entry_too_new", version=version, newest_known=VERSION)

    def _measure(self, entry_id: bytes, entry: InboxEntry) -> None:
        """Note how long ago the entry was published, which its id says."""
        now_ms = self._clock.now_ms()
        if now_ms is None:
            return
        published_ms, _ = _parts(entry_id)
        self.lag_s = max(0, now_ms - published_ms) / 1000
        if any(emit.position is not None for emit in entry.emits):
            metrics.DELIVERY_SECONDS.observe(self.lag_s)


def _parts(entry_id: bytes | str) -> tuple[int, int]:
    """Return the two numbers of the id of an entry."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number)
