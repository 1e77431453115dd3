"""The table of metrics in docs/operations.md, from the registry: `make tables` writes it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

import functions.metrics
import infra.metrics.common
import socket_edge.metrics
import workers.metrics

PAGE: Final = Path(__file__).parents[2] / "docs" / "operations.md"
_BEGIN: Final = "<!-- metrics: written by `make tables` -->\n"
_END: Final = "<!-- end of metrics -->\n"

MODULES: Final = {
    "all": infra.metrics.common,
    "edge": socket_edge.metrics,
    "worker": workers.metrics,
    "functions": functions.metrics,
}
"""Where the metrics are defined, by the processes that serve them."""
_KINDS: Final[dict[type[MetricWrapperBase], str]] = {
    Counter: "counter",
    Gauge: "gauge",
    Histogram: "histogram",
}


def metrics_of(part: str) -> list[MetricWrapperBase]:
    """Return the metrics that a kind of process defines."""
    return [value for value in vars(MODULES[part]).values() if isinstance(value, MetricWrapperBase)]


def name_of(metric: MetricWrapperBase) -> str:
    """Return the name under which Prometheus stores the metric."""
    return f"{metric._name}_total" if isinstance(metric, Counter) else str(metric._name)


def labels_of(metric: MetricWrapperBase) -> tuple[str, ...]:
    """Return the names of the labels."""
    return tuple(metric._labelnames)


def with_table(page: str) -> str:
    """Return the page with today's table between its markers. Raises ValueError without markers."""
    before, found_begin, rest = page.partition(_BEGIN)
    _, found_end, after = rest.partition(_END)
    if not found_begin or not found_end:
        raise ValueError(f"the page has no {_BEGIN.strip()} ... {_END.strip()}")
    return "\n".join([before + _BEGIN, *_lines(), "", _END + after])


def _lines() -> Iterator[str]:
    yield "| metric | type | labels | from | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for part in MODULES:
        for metric in metrics_of(part):
            labels = ", ".join(f"`{name}`" for name in labels_of(metric))
            meaning = re.sub(r"\s+", " ", metric._documentation)
            yield f"| `{name_of(metric)}` | {_KINDS[type(metric)]} | {labels} | {part} | {meaning} |"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
