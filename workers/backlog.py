"""Takes batches from the queue past Celery, once Celery has given the first one to this worker.

Most of the cost of a small batch does not depend on its events. Those that wait are taken together, so that
they share statements and round trips: otherwise several edges, each with lanes of its own, would wait for
each other's small batches. While nothing waits, the next batch is waited for right here: the way through
kombu and Celery, and the look at the queue before each batch, took an eighth of a lone message's time.
"""

from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Any, Final

import structlog
from celery.worker import state
from kombu.transport import virtual
from kombu.utils.json import loads
from redis import Redis, RedisError

from infra.wire import names
from infra.wire.batch import Batch
from infra.wire.registry import CONFIRM_DELIVERY
from infra.wire.serializer import CONTENT_TYPE

log = structlog.get_logger(__name__)

_EVENTS: Final = 200
"""Beyond this many events, sharing makes batches no cheaper."""
_STAY_S: Final = 0.5
"""After this time, Celery goes on. Whoever asks it which workers there are waits for 2 s, for two turns."""
_LEAST_S: Final = 0.01
"""To wait for less could mean to wait for ever."""
_BYTES: Final = 100_000
"""Bytes of tasks to take at once: about that many events of the usual size."""

_TAKE: Final = """
local tasks, size = {}, 0
while true do
    local task = redis.call('LINDEX', KEYS[1], -1)
    if not task then break end
    size = size + #task
    if size > tonumber(ARGV[1]) then break end
    tasks[#tasks + 1] = redis.call('RPOP', KEYS[1])
end
return tasks
"""


class Backlog:
    """The queue behind the task that Celery has given to this worker."""

    def __init__(self, redis: Redis, prefix: str = "", stay_s: float = _STAY_S) -> None:
        self._redis = redis
        self._queue = prefix + names.QUEUE
        self._take = redis.register_script(_TAKE)
        self._stay_s = stay_s

    def follow(self, batch: Batch) -> Iterator[list[Batch]]:
        """Yield the batch, and those after it, in groups to process together, until Celery has to go on.

        It has to when this has taken long enough, when a task is no batch, and when the worker is to stop.
        Receipts are a group of their own and come last, so that they and the rest never wait for each
        other's locks. Raises redis.RedisError.
        """
        leave_at = monotonic() + self._stay_s
        taken = _Taken([batch])
        if len(batch.events) < _EVENTS:
            taken.add(self._take([self._queue], [_BYTES]))
        while taken.batches:
            self._put_back(taken.foreign)
            yield from taken.groups()
            if taken.foreign:
                return
            taken = self._next(leave_at)
        self._put_back(taken.foreign)

    def _next(self, leave_at: float) -> "_Taken":
        """Take what waits, or wait for one task; return nothing when Celery has to go on."""
        taken = _Taken()
        if monotonic() < leave_at and not _is_stopping():
            taken.add(self._take([self._queue], [_BYTES]))
        if not taken and (left := leave_at - monotonic()) > 0 and not _is_stopping():
            found: Any = self._redis.brpop([self._queue], max(left, _LEAST_S))
            taken.add(found[1:] if found else ())
        return taken

    def _put_back(self, tasks: list[bytes]) -> None:
        if tasks:
            try:
                self._redis.rpush(self._queue, *reversed(tasks))
            except RedisError as error:
                # Beat sends its tasks again. The batches that were taken are still processed.
                log.warning("tasks_dropped", tasks=len(tasks), error=type(error).__name__)


class _Taken:
    """What was taken from the queue at once."""

    def __init__(self, batches: Iterable[Batch] = ()) -> None:
        self.batches = {batch.id: batch for batch in batches}
        self.foreign: list[bytes] = []
        """Tasks that only Celery can handle."""

    def __bool__(self) -> bool:
        return bool(self.batches or self.foreign)

    def add(self, tasks: Iterable[bytes]) -> None:
        """Add tasks in the order of the queue. A batch that its lane has sent again may be there twice."""
        for task in tasks:
            batch = _read(task)
            if batch is None:
                self.foreign.append(task)
            else:
                self.batches.setdefault(batch.id, batch)

    def groups(self) -> list[list[Batch]]:
        """Return the batches to process together, those with receipts last."""
        receipts = [one for one in self.batches.values() if _is_receipts(one)]
        others = [one for one in self.batches.values() if not _is_receipts(one)]
        return [group for group in (others, receipts) if group]


def _is_stopping() -> bool:
    """Return whether Celery was told to stop this worker, which it does as soon as it goes on."""
    return any(flag is not None and flag is not False for flag in (state.should_stop, state.should_terminate))


def _is_receipts(batch: Batch) -> bool:
    """Tell whether the batch comes from the lane for receipts; no lane mixes them with other events."""
    return bool(batch.events) and batch.events[0].name == CONFIRM_DELIVERY


def _read(task: bytes) -> Batch | None:
    """Return the batch of a task, or None for any other task, which Celery must handle."""
    try:
        message: Any = virtual.Message(loads(task), _CHANNEL, accept={CONTENT_TYPE})  # type: ignore[no-untyped-call]
        if message.headers["task"] != names.RELAY_TASK:
            return None
        (batch,), _, _ = message.decode()
    except Exception:  # Anything may be on the queue.
        return None
    assert isinstance(batch, Batch)
    return batch


class _Channel:
    """The attributes of a channel that kombu's message needs."""

    decode_body = virtual.Channel.decode_body
    codecs = virtual.Channel.codecs


_CHANNEL: Final = _Channel()
