"""The Prometheus metrics of a process: all are in one registry, and defined in `metrics` of each deployable.

Names and labels are part of what operators rely on: docs/operations.md lists them. Labels are bounded: no
user, chat, socket or address.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

REGISTRY: Final = CollectorRegistry(auto_describe=True)

ProcessCollector(registry=REGISTRY)

counter: Final = partial(Counter, registry=REGISTRY)
gauge: Final = partial(Gauge, registry=REGISTRY)
histogram: Final = partial(Histogram, registry=REGISTRY)

WAIT_BUCKETS: Final[Sequence[float]] = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 15.0),
)
"""For what clients wait for, in seconds: from a lone message to the deadline."""
