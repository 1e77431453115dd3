"""Operators rely on the names of metrics: these follow the conventions, and the docs list them all."""

import pytest
from prometheus_client import Counter

from infra.metrics.registry import REGISTRY, LocalCounter, LocalHistogram
from tests.contract.metric_table import MODULES, PAGE, Served, labels_of, metrics_of, name_of, with_table

METRICS = {name_of(metric): metric for part in MODULES for metric in metrics_of(part)}
LABELS = {
    *("call", "channel", "code", "endpoint", "error", "event", "function", "key", "lane", "level", "limit"),
    *("outcome", "part", "queue", "reason", "signed_in", "status", "version"),
}
"""All labels have few values; `key` is the name of an API key. A user, chat, socket or address is none."""


def test_the_table_of_metrics_is_that_of_the_registry() -> None:
    page = PAGE.read_text()
    assert page == with_table(page), "run `make tables`"


def test_each_metric_is_registered_once() -> None:
    ours = {family.name for family in REGISTRY.collect() if family.name.startswith("bbgram_")}
    assert ours == {name.removesuffix("_total") for name in METRICS}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_name_says_what_is_counted_in_which_unit(metric: Served) -> None:
    name = name_of(metric)
    assert name.startswith("bbgram_")
    if isinstance(metric, Counter | LocalCounter):
        assert name.endswith("_total")
    if isinstance(metric, LocalHistogram):
        assert name.endswith(("_seconds", "_bytes", "_events"))
    assert "_ms" not in name


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_labels_have_few_values(metric: Served) -> None:
    assert set(labels_of(metric)) <= LABELS
