"""Takes the batches that wait behind the one in hand, so that they share its statements and round trips.

What a batch costs before its first event is most of what a small one costs. Several edges, each with lanes
of its own, would otherwise wait for each other's small ones.
"""

from typing import Any, Final, cast

from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.transport import virtual
from kombu.utils.json import loads
from redis import Redis

from infra.wire import names
from infra.wire.batch import Batch
from infra.wire.serializer import CONTENT_TYPE

_BATCHES: Final = 16
"""Most batches that are handled together."""
_EVENTS: Final = 200
"""Events beyond which more of them no longer make each of them cheaper."""


class Backlog:
    """The queue behind the task that Celery has given to this worker."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def join(self, batch: Batch) -> list[Batch]:
        """Return the batch and those that wait, in their order, unless it is large enough by itself.

        Raises redis.RedisError.
        """
        batches = {batch.id: batch}
        room = min(_BATCHES, _EVENTS // max(1, len(batch.events))) - 1
        for task in self._take(room) if room > 0 else ():
            waiting = _read(task)
            if waiting is None:
                self._redis.rpush(names.QUEUE, task)
            else:
                # Sent again by its lane, it may be there twice.
                batches.setdefault(waiting.id, waiting)
        return list(batches.values())

    def _take(self, count: int) -> list[bytes]:
        return cast(list[bytes], self._redis.rpop(names.QUEUE, count) or [])


def _read(task: bytes) -> Batch | None:
    """Return the batch of a task; None for anything else, which is Celery's to deal with."""
    try:
        message: Any = virtual.Message(loads(task), _CHANNEL, accept={CONTENT_TYPE})  # type: ignore[no-untyped-call]
        if message.headers["task"] != names.RELAY_TASK:
            return None
        (batch,), _, _ = message.decode()
    except (ContentDisallowed, DecodeError, KeyError, TypeError, ValueError):
        return None
    return cast(Batch, batch)


class _Channel:
    """What kombu's message needs of the channel that it came by."""

    decode_body = virtual.Channel.decode_body
    codecs = virtual.Channel.codecs


_CHANNEL: Final = _Channel()
