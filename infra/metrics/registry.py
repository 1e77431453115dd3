"""The Prometheus metrics of a process: all are in one registry, and defined in `metrics` of each deployable.

Names and labels are part of what operators rely on: docs/operations.md lists them. Labels are bounded: no
user, chat, socket or address.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

REGISTRY: Final = CollectorRegistry(auto_describe=True)

ProcessCollector(registry=REGISTRY)


class LocalCounter(Collector):
    """A counter that only one thread changes, as `counts[labels] += 1`.

    It needs no lock, which in `prometheus_client.Counter` takes longer than all the rest: an edge counts
    several things for each message.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.documentation = documentation
        self.labels = tuple(labels)
        self.counts: defaultdict[tuple[str, ...], float] = defaultdict(float)
        """By the values of the labels."""
        if not labels:
            self.counts[()] = 0.0
        REGISTRY.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield what prometheus_client asks for, from another thread."""
        family = CounterMetricFamily(self.name, self.documentation, labels=self.labels)
        for values, count in list(self.counts.items()):
            family.add_metric(values, count)
        yield family


counter: Final = partial(Counter, registry=REGISTRY)
gauge: Final = partial(Gauge, registry=REGISTRY)
histogram: Final = partial(Histogram, registry=REGISTRY)

WAIT_BUCKETS: Final[Sequence[float]] = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 15.0),
)
"""For what clients wait for, in seconds: from a lone message to the deadline."""
