"""The metrics of a worker."""

from typing import Final

from infra.metrics.registry import WAIT_BUCKETS, LocalCounter, LocalHistogram, counter, gauge

BATCHES: Final = LocalCounter(
    "bbgram_worker_batches_total",
    "Batches by outcome: `done`, `postponed` because Postgres does not answer, `unpublished` because Redis "
    "does not.",
    ["outcome"],
)
BATCH_SECONDS: Final = LocalHistogram(
    "bbgram_worker_batch_seconds",
    "From taking batches, which are handled together, to publishing their results.",
    buckets=WAIT_BUCKETS,
)
LAST_BATCH: Final = gauge(
    "bbgram_worker_last_batch_timestamp_seconds", "When batches were last done, since the epoch."
)
EVENTS: Final = LocalCounter(
    "bbgram_worker_events_total",
    "Events that were handled, by name and outcome: `ok` or the error code.",
    ["event", "outcome"],
)
TOO_NEW: Final = counter(
    "bbgram_worker_too_new_batches_total",
    "Batches that only a worker of a newer release can read; their edges send them again.",
)
EXPIRED: Final = counter(
    "bbgram_worker_expired_events_total", "Events that were dropped because nobody waits for them any more."
)
HANDLER_SECONDS: Final = LocalHistogram(
    "bbgram_worker_handler_seconds",
    "A handler's time for all events of its kind in a batch, statements included.",
    ["event"],
    buckets=WAIT_BUCKETS,
)
COMMIT_SECONDS: Final = LocalHistogram(
    "bbgram_worker_commit_seconds",
    "Commits of batches that have a transaction; otherwise a statement commits by itself.",
    buckets=WAIT_BUCKETS,
)
SPLITS: Final = counter(
    "bbgram_worker_batch_splits_total", "Batches cut in halves, to find the event that fails."
)
COLLISIONS: Final = counter(
    "bbgram_worker_collisions_total", "Batches tried again because they collided with another one."
)
LOCK_WAITS: Final = counter(
    "bbgram_worker_lock_waits_total", "Batches that met a row which stayed locked for too long."
)
DEAD_LETTERS: Final = counter(
    "bbgram_worker_dead_letters_total",
    "Events that could not be handled, by name; those that could not be kept either are `lost`.",
    ["event", "outcome"],
)
PUBLICATIONS: Final = LocalCounter(
    "bbgram_worker_publications_total", "Messages and other events published to the edges."
)
PUBLISH_SECONDS: Final = LocalHistogram(
    "bbgram_worker_publish_seconds", "Writes to the inboxes of the edges.", buckets=WAIT_BUCKETS
)

HOOK_REQUESTS: Final = LocalCounter(
    "bbgram_worker_hook_requests_total",
    "Requests to the hook before sending: `answered`, `failed`, or `paused` because several have failed.",
    ["outcome"],
)
HOOK_SECONDS: Final = LocalHistogram(
    "bbgram_worker_hook_seconds",
    "What a batch waits for the hook, in which the worker does nothing else.",
    buckets=WAIT_BUCKETS,
)
HOOK_MESSAGES: Final = LocalCounter(
    "bbgram_worker_hook_messages_total",
    "Messages and edits that the hook was asked about: `accept`, `change`, `refuse`, or `failed` without a "
    "usable answer.",
    ["outcome"],
)

SWEEPS: Final = counter("bbgram_worker_sweeps_total", "Sweeps: `done` or `failed`.", ["outcome"])
SWEPT_CHATS: Final = counter("bbgram_worker_swept_chats_total", "Chats that were due, and were swept.")
SWEPT_MESSAGES: Final = counter(
    "bbgram_worker_swept_messages_total", "Unconfirmed messages that the sweep has published again."
)

SWEEP_AGE: Final = gauge(
    "bbgram_worker_sweep_age_seconds",
    "For how long the oldest due chat has been due. As with all that the sweep counts, 0 unless this worker "
    "has swept last.",
)
QUEUE: Final = gauge("bbgram_worker_queue_length", "Tasks on a queue, as the sweep counted them.", ["queue"])
OPEN_NOTIFICATIONS: Final = gauge(
    "bbgram_worker_open_notifications",
    "Notifications that have been open for more than 15 minutes, up to 1,000, as the sweep counted them.",
)
KEPT_DEAD_LETTERS: Final = gauge(
    "bbgram_worker_kept_dead_letters", "Dead letters in the database, up to 1,000, as the sweep counted them."
)
OPEN_REPORTS: Final = gauge(
    "bbgram_worker_open_reports", "Reports that nobody has closed, up to 1,000, as the sweep counted them."
)
REPORT_AGE: Final = gauge(
    "bbgram_worker_report_age_seconds", "For how long the oldest open report has been open."
)
WEBHOOK_AGE: Final = gauge(
    "bbgram_worker_webhook_age_seconds",
    "For how long the oldest event of webhooks has waited, as the sweep found it.",
)
DEAD_WEBHOOKS: Final = gauge(
    "bbgram_worker_dead_webhooks",
    "Events of webhooks that were given up, up to 1,000, as the sweep counted them.",
)
