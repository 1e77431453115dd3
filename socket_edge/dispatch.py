"""Puts batches on the Celery queue, from threads, so that Redis can never block the event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog
from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from redis import RedisError
from redis.asyncio import Redis

from infra.wire import names
from infra.wire.batch import Batch
from infra.wire.serializer import SERIALIZER, register_serializer

log = structlog.get_logger(__name__)

_TIMEOUT_S = 2.0
_BACKLOG = 200
"""Batches on the queue beyond which an edge in trouble adds no more."""


class Dispatcher:
    """Sends batches through Celery's own API; `threads` is the number of lanes."""

    def __init__(self, redis_url: str, redis: Redis, threads: int) -> None:
        register_serializer()
        self._redis = redis
        self._celery = Celery("bbgram-edge", broker=redis_url)
        self._celery.conf.update(
            broker_transport_options={
                "socket_timeout": _TIMEOUT_S,
                "socket_connect_timeout": _TIMEOUT_S,
                "max_retries": 0,
            },
            task_ignore_result=True,
        )
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="dispatch")

    async def send(self, batch: Batch, cautious: bool) -> bool:
        """Put the batch on the queue; False if Redis refused or, when `cautious`, no worker keeps up."""
        try:
            if cautious and await self._redis.llen(names.QUEUE) >= _BACKLOG:
                return False
            await asyncio.get_running_loop().run_in_executor(self._threads, self._send, batch)
        except (RedisError, KombuError, OperationalError, OSError) as error:
            log.warning("dispatch_failed", batch=batch.id, error=type(error).__name__)
            return False
        return True

    def close(self) -> None:
        """Release threads and connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._celery.close()

    def _send(self, batch: Batch) -> None:
        self._celery.send_task(
            names.RELAY_TASK,
            args=(batch,),
            # Celery would print the arguments into a header otherwise: slow, and they are private.
            argsrepr="(batch,)",
            queue=names.QUEUE,
            serializer=SERIALIZER,
            retry=False,
        )
