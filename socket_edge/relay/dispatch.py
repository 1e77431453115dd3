"""Puts batches on the Celery queue without blocking the event loop."""

import time
from base64 import b64decode, b64encode
from typing import Any, Final

import msgspec
import structlog
import uuid_utils
from celery import Celery
from kombu.connection import Connection
from kombu.transport import virtual
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
    """Pushes task messages with an asyncio client. Celery renders the first one, the rest are like it."""

    def __init__(self, redis: Redis, prefix: str = "") -> None:
        self._redis = redis
        self._queue = prefix + names.QUEUE
        self._envelope = _Envelope()

    async def send(self, batch: Batch, cautious: bool) -> bool:
        """Put a batch on the queue. False if Redis refuses, or if `cautious` and workers do not keep up."""
        try:
            if cautious and await self._redis.llen(self._queue) >= _BACKLOG:
                return False
            message = self._envelope.around(batch)
            began = time.monotonic()
            await self._redis.lpush(self._queue, message)
        except (RedisError, OSError) as error:
            log.warning("dispatch_failed", batch=batch.id, error=type(error).__name__)
            return False
        metrics.DISPATCH_SECONDS.observe(time.monotonic() - began)
        return True


class _Envelope:
    """A task message as Celery and kombu render it, without what differs from one batch to the next."""

    _ID: Final = "{id}"
    _BODY: Final = "{body}"

    def __init__(self) -> None:
        message = _render(Batch("", "", []), self._ID)
        body = message["body"]
        _, _, self._embedded = msgspec.json.decode(b64decode(body))
        self._text = msgspec.json.encode({**message, "body": self._BODY}).decode()

    def around(self, batch: Batch) -> str:
        """Return a new message with a batch, as a worker expects it on the Redis list that is its queue."""
        body = b64encode(msgspec.json.encode(((batch,), {}, self._embedded))).decode()
        return self._text.replace(self._ID, str(uuid_utils.uuid4())).replace(self._BODY, body)


def _render(batch: Batch, task_id: str) -> Any:
    """Have Celery send a task to a channel that keeps the message."""
    register_serializer()
    connection: Any = Connection(transport=_Transport)  # type: ignore[no-untyped-call]
    with connection, Celery("bbgram-edge", set_as_current=False) as celery:
        channel = connection.default_channel
        celery.send_task(
            names.RELAY_TASK,
            args=(batch,),
            # By default Celery puts the arguments into a header: slow, and they are private.
            argsrepr="(batch,)",
            task_id=task_id,
            queue=names.QUEUE,
            # A queue in Redis is a list, which needs no declaration.
            declare=[],
            ignore_result=True,
            serializer=SERIALIZER,
            producer=celery.amqp.Producer(channel, auto_declare=False),
            retry=False,
        )
        return channel.message


class _Channel(virtual.Channel):
    """kombu's Redis channel up to the point where it would push, and block."""

    message: dict[str, Any]
    """The message that was published last."""

    def _put(self, queue: str, message: dict[str, Any], **_: object) -> None:
        self.message = message


class _Transport(virtual.Transport):
    Channel = _Channel
