"""Metrics that one thread changes without a lock read as those of prometheus_client."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from infra.metrics import registry
from infra.metrics.registry import LocalCounter, LocalHistogram

BUCKETS = (0.001, 0.25, 1, 10.0)
VALUES = (0.0, 0.001, 0.0011, 0.25, 1.0, 9.99, 10.0, 10.01, 1e9)
"""Below, on and above each bound."""


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """A registry of the test's own for local metrics."""
    own = CollectorRegistry()
    monkeypatch.setattr(registry, "REGISTRY", own)
    return own


def served(metrics: CollectorRegistry) -> set[str]:
    """What Prometheus reads, without the times at which series began."""
    return {line for line in generate_latest(metrics).decode().splitlines() if "_created" not in line}


def test_a_local_histogram_reads_as_one_of_the_library(ours: CollectorRegistry) -> None:
    theirs = CollectorRegistry()
    plain = LocalHistogram("wait_seconds", "Waits.", buckets=BUCKETS)
    labelled = LocalHistogram("named_seconds", "Waits.", ["event"], buckets=BUCKETS)
    expected = Histogram("wait_seconds", "Waits.", buckets=BUCKETS, registry=theirs)
    expected_labelled = Histogram("named_seconds", "Waits.", ["event"], buckets=BUCKETS, registry=theirs)
    assert served(ours) == served(theirs)
    for place, value in enumerate(VALUES):
        plain.observe(value)
        expected.observe(value)
        labelled.observe(value, f'odd "{place % 2}')
        expected_labelled.labels(f'odd "{place % 2}').observe(value)
    assert served(ours) == served(theirs)


def test_a_local_counter_reads_as_one_of_the_library(ours: CollectorRegistry) -> None:
    theirs = CollectorRegistry()
    plain = LocalCounter("seen_total", "Seen.")
    labelled = LocalCounter("named_total", "Seen.", ["event", "outcome"])
    expected = Counter("seen_total", "Seen.", registry=theirs)
    expected_labelled = Counter("named_total", "Seen.", ["event", "outcome"], registry=theirs)
    assert served(ours) == served(theirs)
    for outcome in ("ok", "busy", "ok"):
        plain.counts[()] += 2
        expected.inc(2)
        labelled.counts["send", outcome] += 1
        expected_labelled.labels("send", outcome).inc()
    assert served(ours) == served(theirs)
