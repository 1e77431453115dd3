"""Drops events whose sender has been told `timeout`, so that trying again does not double them."""

import msgspec
import structlog
from redis import Redis

from infra.wire.batch import Batch, Event
from infra.wire.clock import RedisClock

log = structlog.get_logger(__name__)


def drop_expired(batch: Batch, redis: Redis, clock: RedisClock) -> Batch:
    """Return the batch without the events past their deadline. Raises redis.RedisError."""
    now_ms = clock.now_ms()
    if now_ms is not None and len(_fresh(batch, now_ms)) == len(batch.events):
        return batch
    # Ask before anything is dropped: what this process remembers may be wrong.
    seconds, micros = redis.time()
    events = _fresh(batch, clock.note(seconds, micros))
    if len(events) < len(batch.events):
        log.warning("events_expired", batch=batch.id, events=len(batch.events) - len(events))
    return msgspec.structs.replace(batch, events=events)


def _fresh(batch: Batch, now_ms: int) -> list[Event]:
    return [event for event in batch.events if event.expires_ms == 0 or event.expires_ms > now_ms]
