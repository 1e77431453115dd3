"""Queries of dashboards and rules name only metrics, labels and values that exist."""

import re

import pytest

from functions.run import FUNCTIONS
from infra.metrics.registry import LocalHistogram
from infra.wire import names
from infra.wire.errors import ErrorCode
from infra.wire.registry import CLIENT_COMMANDS
from socket_edge.auth.rejections import RefusalReason
from socket_edge.connection.api import DisconnectReason
from tests.contract.metric_table import MODULES, labels_of, metrics_of, name_of
from tests.contract.test_documentation import log_calls
from tests.harness.observed import PARTS
from tests.harness.promql import groupings, queries, selectors
from tests.harness.promtool import rules

TARGET = {"job", "instance"}
"""The labels that Prometheus adds."""
EXPORTERS = {
    "redis_exporter": {"redis_memory_used_bytes": set[str](), "redis_memory_max_bytes": set[str]()},
    "postgres_exporter": {
        "pg_stat_activity_count": {"datname", "state"},
        "pg_settings_max_connections": set[str](),
    },
    "the client library": {
        "process_cpu_seconds_total": set[str](),
        "process_resident_memory_bytes": set[str](),
        "process_open_fds": set[str](),
        "process_max_fds": set[str](),
    },
    "Prometheus": {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}},
}
"""Metrics of others, with their labels."""
EVENT = {*CLIENT_COMMANDS, "unknown"}
OUTCOME = {"ok", *ErrorCode}
VALUES = {
    ("bbgram_build_info", "part"): {*PARTS},
    ("bbgram_log_lines_total", "level"): {"info", "warning", "error"},
    ("bbgram:log_lines:increase10m", "level"): {"warning", "error"},
    ("bbgram_postgres_errors_total", "error"): {
        "connection",
        "timeout",
        "lock",
        "deadlock",
        "conflict",
        "other",
    },
    ("bbgram_edge_sign_ins_total", "outcome"): {*OUTCOME, *RefusalReason},
    ("bbgram_edge_events_total", "event"): EVENT,
    ("bbgram_edge_events_total", "outcome"): OUTCOME,
    ("bbgram_edge_ack_seconds_bucket", "event"): EVENT,
    ("bbgram_edge_ack_seconds_bucket", "le"): {"1.0"},
    ("bbgram_edge_ack_seconds_count", "event"): EVENT,
    ("bbgram_edge_delivery_seconds_bucket", "le"): {"1.0"},
    ("bbgram:edge_disconnects:increase10m", "reason"): {*DisconnectReason},
    ("bbgram_worker_events_total", "outcome"): OUTCOME,
    ("bbgram_worker_hook_requests_total", "outcome"): {"answered", "failed", "paused"},
    ("bbgram_worker_sweeps_total", "outcome"): {"done", "failed"},
    ("bbgram_worker_queue_length", "queue"): {names.QUEUE, names.FUNCTIONS_QUEUE},
    ("bbgram_function_runs_total", "function"): {*FUNCTIONS},
    ("bbgram_function_runs_total", "outcome"): {"complete", "out_of_time", "failed"},
    ("bbgram_function_last_run_timestamp_seconds", "function"): {*FUNCTIONS},
    ("bbgram_function_missed_total", "function"): {*FUNCTIONS},
    ("ALERTS", "alertname"): {"Bbgram.*"},
    ("ALERTS", "alertstate"): {"firing"},
    ("up", "job"): {"bbgram.*"},
    ("bbgram:slo_errors:ratio_rate1h", "slo"): {"fast_answers", "answers", "delivery"},
}
"""What the labels can be, of those whose values are asked for, but for the events of logs."""
LOG_EVENTS = {("bbgram_log_lines_total", "event"), ("bbgram:log_lines:increase10m", "event")}
"""Labels with events of logs."""


def values_of(metric: str, label: str) -> set[str]:
    """Return what a label can be. Events of logs are read when a test asks, as that takes a while."""
    if (metric, label) in LOG_EVENTS:
        return {*(call.event for call in log_calls()), "other"}
    return VALUES[metric, label]


def known() -> dict[str, set[str]]:
    """Return the labels of every metric that a query may ask for, recorded ones included."""
    found = {name: labels for metrics in EXPORTERS.values() for name, labels in metrics.items()}
    for part in MODULES:
        for metric in metrics_of(part):
            labels = set(labels_of(metric))
            found[name_of(metric)] = labels
            if isinstance(metric, LocalHistogram):
                found[f"{name_of(metric)}_bucket"] = labels | {"le"}
                found[f"{name_of(metric)}_sum"] = found[f"{name_of(metric)}_count"] = labels
    for rule in rules():
        if "record" in rule:
            expr = rule["expr"]
            is_aggregate = re.match(r"[\d(\s-]*(sum|max)\b", expr)
            kept = groupings(expr) if is_aggregate else found[selectors(expr)[0].metric]
            found[rule["record"]] = {*kept, *rule.get("labels", {})}
    return found


KNOWN = known()
QUERIES = queries()


@pytest.mark.parametrize("expr", QUERIES.values(), ids=QUERIES)
def test_a_query_names_metrics_labels_and_values_that_exist(expr: str) -> None:
    asked = selectors(expr)
    assert asked
    for one in asked:
        assert one.metric in KNOWN
        assert set(one.labels) <= KNOWN[one.metric] | TARGET
        for label, values in one.labels.items():
            assert set(values) <= values_of(one.metric, label)
    assert groupings(expr) <= {label for one in asked for label in KNOWN[one.metric]} | TARGET
