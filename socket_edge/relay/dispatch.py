"""Puts batches on the Celery queue without blocking the event loop."""

import time
from typing import Any

import structlog
from celery import Celery
from kombu.connection import Connection
from kombu.transport import virtual
from kombu.utils.json import dumps
from redis import RedisError
from redis.asyncio import Redis

from infra.wire import names
from infra.wire.batch import Batch
from infra.wire.serializer import SERIALIZER, register_serializer
from socket_edge import metrics

log = structlog.get_logger(__name__)

_BACKLOG = 200
"""Once this many batches are queued, lanes without a result stop re-sending."""


class Dispatcher:
    """Has Celery render the task message, and pushes it with an asyncio client."""

    def __init__(self, redis: Redis, prefix: str = "") -> None:
        register_serializer()
        self._redis = redis
        self._queue = prefix + names.QUEUE
        self._celery = Celery("bbgram-edge", set_as_current=False)
        self._celery.conf.task_ignore_result = True
        self._connection: Any = Connection(transport=_Transport)  # type: ignore[no-untyped-call]
        self._channel: Any = self._connection.default_channel
        self._producer = self._celery.amqp.Producer(self._channel, auto_declare=False)

    async def send(self, batch: Batch, cautious: bool) -> bool:
        """Put a batch on the queue. False if Redis refuses, or if `cautious` and workers do not keep up."""
        try:
            if cautious and await self._redis.llen(self._queue) >= _BACKLOG:
                return False
            message = self._render(batch)
            began = time.monotonic()
            await self._redis.lpush(self._queue, message)
        except (RedisError, OSError) as error:
            log.warning("dispatch_failed", batch=batch.id, error=type(error).__name__)
            return False
        metrics.DISPATCH_SECONDS.observe(time.monotonic() - began)
        return True

    def close(self) -> None:
        """Release what Celery holds."""
        self._connection.release()
        self._celery.close()

    def _render(self, batch: Batch) -> str:
        """Return a batch as a worker expects it on the Redis list that is its queue."""
        self._celery.send_task(
            names.RELAY_TASK,
            args=(batch,),
            # By default Celery puts the arguments into a header: slow, and they are private.
            argsrepr="(batch,)",
            queue=names.QUEUE,
            # A queue in Redis is a list, which needs no declaration.
            declare=[],
            serializer=SERIALIZER,
            producer=self._producer,
            retry=False,
        )
        message: str = self._channel.message
        return message


class _Channel(virtual.Channel):
    """kombu's Redis channel up to the point where it would push, and block."""

    message: str
    """The message that was published last."""

    def _put(self, queue: str, message: dict[str, object], **_: object) -> None:
        self.message = dumps(message)  # type: ignore[no-untyped-call]


class _Transport(virtual.Transport):
    Channel = _Channel
