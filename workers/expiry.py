"""Drops work that comes too late. Only the clock of Redis counts, because all processes share it."""

from collections.abc import Callable, Sequence

import msgspec
import structlog
from celery.worker.request import Request as CeleryRequest
from redis import Redis, RedisError

from infra.wire.batch import Batch, Event
from infra.wire.clock import RedisClock
from workers import metrics

log = structlog.get_logger(__name__)


def drop_expired(batches: Sequence[Batch], redis: Redis, clock: RedisClock) -> Sequence[Batch]:
    """Return the batches without events that edges have answered with `timeout`: clients may retry those.

    Raises redis.RedisError.
    """
    now_ms = clock.now_ms()
    if now_ms is not None and all(len(_fresh(one.events, now_ms)) == len(one.events) for one in batches):
        return batches
    # Ask Redis before anything is dropped: the time that this process remembers may be wrong.
    seconds, micros = redis.time()
    now_ms = clock.note(seconds, micros)
    return [_without_expired(one, now_ms) for one in batches]


def _without_expired(batch: Batch, now_ms: int) -> Batch:
    events = _fresh(batch.events, now_ms)
    if len(events) < len(batch.events):
        metrics.EXPIRED.inc(len(batch.events) - len(events))
        log.warning("events_expired", batch=batch.id, events=len(batch.events) - len(events))
    return msgspec.structs.replace(batch, events=events)


def still_wanted(events: Sequence[Event], clock: RedisClock) -> Sequence[Event]:
    """Return the events without those whose deadline has passed since `drop_expired`.

    Takes no round trip: Redis has just told the time, with each publication.
    """
    now_ms = clock.now_ms()
    if now_ms is None:
        return events
    fresh = _fresh(events, now_ms)
    metrics.EXPIRED.inc(len(events) - len(fresh))
    return fresh


def punctual(base: type[CeleryRequest], redis: Callable[[], Redis]) -> type[CeleryRequest]:
    """Return a class of Celery requests that expire by the clock of Redis, not by this worker's own."""

    class Punctual(base):  # type: ignore[misc]
        def maybe_expire(self) -> bool:
            """Tell whether the task comes too late, so that Celery drops it."""
            try:
                seconds, _ = redis().time()
            except RedisError:
                return False
            return bool(seconds > self.expires.timestamp())

    return Punctual


def _fresh(events: Sequence[Event], now_ms: int) -> list[Event]:
    return [event for event in events if event.expires_ms == 0 or event.expires_ms > now_ms]
