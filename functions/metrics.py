"""The metrics of functions. A worker serves them; AWS Lambda has its own."""

from typing import Final

from infra.metrics.registry import LocalHistogram, counter, gauge

RUNS: Final = counter(
    "bbgram_function_runs_total",
    "Runs by outcome: `complete`, `out_of_time` (the next run continues), `failed`.",
    ["function", "outcome"],
)
RUN_SECONDS: Final = LocalHistogram(
    "bbgram_function_seconds",
    "Duration of runs.",
    ["function"],
    buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1200),
)
LAST_RUN: Final = gauge(
    "bbgram_function_last_run_timestamp_seconds",
    "When a run last ended without an error, since the epoch.",
    ["function"],
)
MISSED: Final = counter(
    "bbgram_function_missed_total",
    "Times of the schedule that have passed without a run that began in time.",
    ["function"],
)
NOTIFICATIONS: Final = counter(
    "bbgram_notifications_total",
    "Notifications by the channel of a device, and what became of it: `sent`, `gone`, `refused`, `later`, "
    "`not_configured`.",
    ["channel", "outcome"],
)
WEBHOOK_EVENTS: Final = counter(
    "bbgram_webhook_events_total",
    "Events of webhooks by endpoint, and what became of them: `sent`, `refused` (tried again), `dead`.",
    ["endpoint", "outcome"],
)
WEBHOOK_SECONDS: Final = LocalHistogram(
    "bbgram_webhook_request_seconds",
    "Duration of requests to an endpoint of webhooks.",
    ["endpoint"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
ARCHIVED_MESSAGES: Final = counter("bbgram_archived_messages_total", "Messages moved to the archive.")
ARCHIVED_BYTES: Final = counter("bbgram_archived_bytes_total", "Compressed bytes of the archive's objects.")
