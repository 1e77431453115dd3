"""Checks that workers consume the queues, and that beat schedules what they run."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from infra.celery_broker import broker_settings
from infra.cli.doctor.finding import Finding, finding
from infra.redis_client import make_redis
from infra.settings.worker import WorkerSettings
from infra.wire.names import FUNCTIONS_QUEUE, QUEUE, SWEPT_KEY

_ANSWER_S: Final = 2.0
"""How long to wait for workers to answer. A busy worker answers only after its batch."""
_TIMEOUT_S: Final = 3.0


def process_findings(settings: WorkerSettings) -> Iterator[Finding]:
    """Ask all workers which queues they consume, and Redis whether sweeps run. Redis must be reachable."""
    consumers: Counter[str] = Counter()

    def ask() -> Finding:
        consumers.update(_consumers(settings))
        return _workers(consumers[QUEUE], "workers", "start `bbgram worker`")

    yield finding("workers", "correct BBGRAM_REDIS_URL", ask)
    if settings.beat_functions:
        advice = "start `bbgram worker --functions`; a functions worker that is busy answers after its run"
        yield _workers(consumers[FUNCTIONS_QUEUE], "functions", advice)
    else:
        yield Finding("functions", "these run elsewhere, as BBGRAM_BEAT_FUNCTIONS is false")
    yield finding(
        "beat", "correct BBGRAM_REDIS_URL", lambda: _beat(settings, has_workers=consumers[QUEUE] > 0)
    )


def _consumers(settings: WorkerSettings) -> Counter[str]:
    """Return how many workers consume each queue."""
    from celery import Celery

    broker = broker_settings(settings.redis_url, _TIMEOUT_S, prefix=settings.redis_prefix)
    with Celery(set_as_current=False, **broker) as app:
        answers = app.control.inspect(timeout=_ANSWER_S).active_queues() or {}
    return Counter(queue["name"] for queues in answers.values() for queue in queues)


def _workers(count: int, subject: str, advice: str) -> Finding:
    if count == 0:
        return Finding(subject, "no worker answers", advice)
    return Finding(subject, "1 worker answers" if count == 1 else f"{count} workers answer")


def _beat(settings: WorkerSettings, *, has_workers: bool) -> Finding:
    with make_redis(settings.redis_url, _TIMEOUT_S) as redis:
        if redis.exists(settings.redis_prefix + SWEPT_KEY):
            return Finding("beat", "the sweeps run as scheduled")
    if has_workers:
        advice = "start `bbgram beat`; if it has just started, wait for its first sweep"
    else:
        advice = "start `bbgram worker` and `bbgram beat`"
    return Finding("beat", "no sweep has run lately", advice)
