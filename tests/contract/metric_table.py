"""The table of metrics in docs/operations.md, from the registry: `make tables` writes it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge
from prometheus_client.metrics import MetricWrapperBase

import functions.metrics
import infra.metrics.common
import socket_edge.metrics
import workers.metrics
from infra.metrics.registry import LocalCounter, LocalHistogram
from tests.contract.generated import with_lines

PAGE: Final = Path(__file__).parents[2] / "docs" / "operations.md"

MODULES: Final = {
    "all": infra.metrics.common,
    "edge": socket_edge.metrics,
    "worker": workers.metrics,
    "functions": functions.metrics,
}
"""Where the metrics are defined, by the processes that serve them."""
Local = LocalCounter | LocalHistogram
Served = MetricWrapperBase | Local

_KINDS: Final[dict[type[Served], str]] = {
    Counter: "counter",
    LocalCounter: "counter",
    Gauge: "gauge",
    LocalHistogram: "histogram",
}


def metrics_of(part: str) -> list[Served]:
    """Return the metrics that a kind of process defines."""
    return [value for value in vars(MODULES[part]).values() if isinstance(value, Served)]


def name_of(metric: Served) -> str:
    """Return the name under which Prometheus stores the metric."""
    if isinstance(metric, Local):
        return metric.name
    return f"{metric._name}_total" if isinstance(metric, Counter) else str(metric._name)


def labels_of(metric: Served) -> tuple[str, ...]:
    """Return the names of the labels."""
    return metric.labels if isinstance(metric, Local) else tuple(metric._labelnames)


def _documentation(metric: Served) -> str:
    text = metric.documentation if isinstance(metric, Local) else metric._documentation
    return re.sub(r"\s+", " ", text)


def with_table(page: str) -> str:
    """Return the page with today's table between its markers. Raises ValueError without markers."""
    return with_lines(page, "metrics", _lines())


def _lines() -> Iterator[str]:
    yield "| metric | type | labels | from | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for part in MODULES:
        for metric in metrics_of(part):
            labels = ", ".join(f"`{name}`" for name in labels_of(metric))
            kind, meaning = _KINDS[type(metric)], _documentation(metric)
            yield f"| `{name_of(metric)}` | {kind} | {labels} | {part} | {meaning} |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
