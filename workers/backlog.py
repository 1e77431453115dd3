"""Takes the batches that wait behind the current one, so that they share its statements and round trips.

Most of the cost of a small batch does not depend on its events. Without this, several edges, each with lanes
of its own, would wait for each other's small batches.
"""

from typing import Any, Final

import structlog
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

    def __init__(self, redis: Redis, prefix: str = "") -> None:
        self._redis = redis
        self._queue = prefix + names.QUEUE
        self._take = redis.register_script(_TAKE)

    def join(self, batch: Batch) -> list[list[Batch]]:
        """Return the batch, and those that wait unless it is large, in groups to process together.

        Receipts are a group of their own and come last, so that they and the rest never wait for each other's
        locks. Raises redis.RedisError.
        """
        batches = {batch.id: batch}
        if len(batch.events) < _EVENTS:
            foreign = []
            for task in self._take([self._queue], [_BYTES]):
                waiting = _read(task)
                if waiting is None:
                    foreign.append(task)
                else:
                    # A batch that its lane has sent again may be there twice.
                    batches.setdefault(waiting.id, waiting)
            self._put_back(foreign)
        receipts = [one for one in batches.values() if _is_receipts(one)]
        others = [one for one in batches.values() if not _is_receipts(one)]
        return [group for group in (others, receipts) if group]

    def _put_back(self, tasks: list[bytes]) -> None:
        if tasks:
            try:
                self._redis.rpush(self._queue, *reversed(tasks))
            except RedisError as error:
                # Beat sends its tasks again. The batches that were taken are still processed.
                log.warning("tasks_dropped", tasks=len(tasks), error=type(error).__name__)


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
