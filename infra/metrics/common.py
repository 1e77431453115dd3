"""Metrics that every process has."""

from typing import Final

from infra.metrics.registry import counter, gauge
from infra.version import VERSION

BUILD: Final = gauge(
    "bbgram_build_info",
    "Always 1; the labels say which version this is, and what the process does.",
    ["version", "part"],
)
LOG_LINES: Final = counter(
    "bbgram_log_lines_total",
    "Log lines by event, as docs/operations.md lists them; `other` is what libraries log.",
    ["level", "event"],
)
REDIS_ERRORS: Final = counter(
    "bbgram_redis_errors_total",
    "Commands to Redis that failed, each try counted. Of workers, not those of the task queue.",
    ["error"],
)
POSTGRES_ERRORS: Final = counter(
    "bbgram_postgres_errors_total",
    "Statements that failed: `connection`, `timeout`, `lock`, `deadlock`, `conflict`, `other`.",
    ["error"],
)


def note_part(part: str) -> None:
    """Say what this process does."""
    BUILD.labels(VERSION, part).set(1)
