"""Leaves batches that only a newer release can read to the workers of that release."""

from collections.abc import Sequence
from typing import Final

import structlog

from infra.wire.batch import VERSION, Batch
from infra.wire.errors import ErrorCode
from workers import metrics
from workers.publish import Publisher

log = structlog.get_logger(__name__)

_seen: Final[set[int]] = set()
"""Versions that this process has complained of."""


def readable(batches: Sequence[Batch], publisher: Publisher) -> list[Batch]:
    """Return the batches that this release can read; ask the edges of all others to send them again.

    Raises redis.RedisError.
    """
    too_new = [batch for batch in batches if batch.is_too_new]
    if not too_new:
        return list(batches)
    metrics.TOO_NEW.inc(len(too_new))
    for batch in too_new:
        if batch.v not in _seen:
            _seen.add(batch.v)
            log.error("batch_too_new", edge=batch.edge_id, version=batch.v, newest_known=VERSION)
    publisher.postpone(too_new, ErrorCode.UNAVAILABLE)
    return [batch for batch in batches if not batch.is_too_new]
