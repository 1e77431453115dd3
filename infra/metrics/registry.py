"""The Prometheus metrics of a process: all are in one registry, and defined in `metrics` of each deployable.

Names and labels are part of what operators rely on: docs/operations.md lists them. Labels are bounded: no
user, chat, socket or address.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

REGISTRY: Final = CollectorRegistry(auto_describe=True)

ProcessCollector(registry=REGISTRY)


class LocalCounter(Collector):
    """A counter that only one thread changes, as `counts[labels] += 1`.

    It needs no lock, which in `prometheus_client.Counter` takes longer than all the rest: edges and workers
    count several things for each message or batch.
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


class LocalHistogram(Collector):
    """A histogram that only one thread changes, for the same reason."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str] = (), *, buckets: Sequence[float]
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.labels = tuple(labels)
        self._bounds = tuple(map(float, buckets))
        self._series: dict[tuple[str, ...], list[float]] = {}
        """By the values of the labels: how many were in each bucket and beyond the last, and their sum."""
        if not labels:
            self._begin(())
        REGISTRY.register(self)

    def observe(self, value: float, *labels: str) -> None:
        """Count a value for these values of the labels."""
        series = self._series.get(labels) or self._begin(labels)
        series[bisect_left(self._bounds, value)] += 1
        series[-1] += value

    def _begin(self, labels: tuple[str, ...]) -> list[float]:
        self._series[labels] = [0.0] * (len(self._bounds) + 2)
        return self._series[labels]

    def collect(self) -> Iterator[Metric]:
        """Yield what prometheus_client asks for, from another thread."""
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.labels)
        bounds = [*map(str, self._bounds), "+Inf"]
        for values, (*counts, total) in list(self._series.items()):
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric(values, buckets, total)
        yield family


counter: Final = partial(Counter, registry=REGISTRY)
gauge: Final = partial(Gauge, registry=REGISTRY)

WAIT_BUCKETS: Final[Sequence[float]] = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 15.0),
)
"""For what clients wait for, in seconds: from a lone message to the deadline."""
