"""Queries of PromQL that panels share."""

from collections.abc import Sequence
from typing import Final

PER_S: Final = "[$__rate_interval]"
"""As long as Grafana thinks is right for the resolution of a graph."""


def rate(metric: str, *by: str) -> str:
    """Return the query for how much a counter grows a second, summed up by labels."""
    return f"sum{_by(by)}(rate({metric}{PER_S}))"


def mean(histogram: str, *by: str) -> str:
    """Return the query for the mean of what a histogram has observed."""
    return f"{rate(f'{histogram}_sum', *by)} / {rate(f'{histogram}_count', *by)}"


def quantile(share: float, histogram: str, *by: str) -> str:
    """Return the query for a quantile of a histogram, with its labels in braces if some are wanted."""
    name, brace, labels = histogram.partition("{")
    return f"histogram_quantile({share}, {rate(f'{name}_bucket{brace}{labels}', *by, 'le')})"


def quantiles(histogram: str) -> dict[str, str]:
    """Return the queries for the quantiles that people ask for."""
    return {f"p{int(share * 100)}": quantile(share, histogram) for share in (0.5, 0.95, 0.99)}


def _by(labels: Sequence[str]) -> str:
    return f" by ({', '.join(labels)}) " if labels else ""
