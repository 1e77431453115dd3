"""Workers: what they handle, how long it takes, what fails, what piles up."""

from typing import Final

from infra.deploy.grafana.panel import Dashboard, Panel, Row
from infra.deploy.grafana.processes import log_lines, only, processes
from infra.deploy.grafana.promql import quantile, quantiles, rate

_BUSY: Final = rate("bbgram_worker_batch_seconds_sum", "job", "instance")
_PUBLISHED: Final = rate("bbgram_worker_publications_total", "job", "instance")
_LAST_BATCH: Final = "bbgram_worker_last_batch_timestamp_seconds"

WORKERS: Final = Dashboard(
    "workers",
    "workers",
    "What workers handle, how long it takes, what fails, and what piles up.",
    [
        Row(
            "Work",
            graphs=[
                Panel(
                    "Events",
                    "Events that workers handled a second, by name.",
                    "reqps",
                    {"{{event}}": rate("bbgram_worker_events_total", "event")},
                    stacked=True,
                ),
                Panel(
                    "How busy",
                    "Share of its time that each worker spends on batches. If all are near 1, add workers.",
                    "percentunit",
                    {"{{instance}}": f"{_BUSY} {only('worker')}"},
                    red_from=0.9,
                ),
                Panel(
                    "Oldest waiting event",
                    "For how long the oldest event without an answer has waited on an edge. Scale workers "
                    "by it.",
                    "s",
                    {"age": "bbgram:edge_oldest_waiting_seconds:max"},
                    red_from=2,
                ),
                Panel(
                    "Batches",
                    "Batches a second by outcome: `postponed` if Postgres, `unpublished` if Redis does not "
                    "answer.",
                    "cps",
                    {"{{outcome}}": rate("bbgram_worker_batches_total", "outcome")},
                    stacked=True,
                ),
                Panel(
                    "Since the last batch",
                    "How long ago each worker has last done a batch. Edges ask at least every 5 s, but not "
                    "each worker.",
                    "s",
                    {"{{instance}}": f"time() - max by (job, instance) ({_LAST_BATCH} > 0)"},
                ),
                Panel(
                    "Tasks on the queues",
                    "Tasks in Redis, as the sweep counted them. The queue of events shows no backlog: "
                    "events wait in the edges.",
                    "short",
                    {"{{queue}}": "max by (queue) (bbgram_worker_queue_length)"},
                ),
            ],
        ),
        Row(
            "Time",
            graphs=[
                Panel(
                    "Duration of batches",
                    "From taking batches to publishing their results.",
                    "s",
                    quantiles("bbgram_worker_batch_seconds"),
                    red_from=1,
                ),
                Panel(
                    "Handlers",
                    "95th percentile of a handler's time for its events of a batch, most of it in Postgres.",
                    "s",
                    {"{{event}}": quantile(0.95, "bbgram_worker_handler_seconds", "event")},
                    red_from=0.5,
                ),
                Panel(
                    "Commits",
                    "Commits of Postgres. If they are slow, look at its disk, or at a synchronous standby.",
                    "s",
                    quantiles("bbgram_worker_commit_seconds"),
                    red_from=0.5,
                ),
                Panel(
                    "Writes to Redis",
                    "Writes to the inboxes of the edges; usual are a few milliseconds.",
                    "s",
                    quantiles("bbgram_worker_publish_seconds"),
                    red_from=0.1,
                ),
                Panel(
                    "Publications",
                    "Messages and other events that workers published a second.",
                    "cps",
                    {"{{instance}}": f"{_PUBLISHED} {only('worker')}"},
                    stacked=True,
                ),
                Panel(
                    "Collisions, lock waits, splits",
                    "Batches a second that were tried again, that met a locked row, or that were cut to "
                    "find the event that fails.",
                    "cps",
                    {
                        "collisions": rate("bbgram_worker_collisions_total"),
                        "lock waits": rate("bbgram_worker_lock_waits_total"),
                        "splits": rate("bbgram_worker_batch_splits_total"),
                    },
                ),
            ],
        ),
        Row(
            "Failures",
            graphs=[
                Panel(
                    "Refused events",
                    "Events that workers answered with an error, by its code.",
                    "reqps",
                    {
                        "{{event}} {{outcome}}": rate(
                            'bbgram_worker_events_total{outcome!="ok"}', "event", "outcome"
                        )
                    },
                    stacked=True,
                ),
                Panel(
                    "Expired events",
                    "Events that were dropped because nobody waits for them any more: workers do not keep "
                    "up.",
                    "reqps",
                    {"expired": rate("bbgram_worker_expired_events_total")},
                ),
                Panel(
                    "Dead letters",
                    "Events that no worker could handle, by name, and how many of them are kept.",
                    "none",
                    {
                        "{{event}} {{outcome}} a second": rate(
                            "bbgram_worker_dead_letters_total", "event", "outcome"
                        ),
                        "kept": "max(bbgram_worker_kept_dead_letters)",
                    },
                    red_from=1,
                ),
                Panel(
                    "Errors of Postgres",
                    "Statements a second that failed, of all processes, by kind.",
                    "cps",
                    {"{{error}}": rate("bbgram_postgres_errors_total", "error")},
                ),
                Panel(
                    "Errors of Redis",
                    "Commands a second that failed, of all processes, by kind.",
                    "cps",
                    {"{{error}}": rate("bbgram_redis_errors_total", "error")},
                ),
                log_lines("worker"),
            ],
        ),
        Row(
            "Hook before sending",
            graphs=[
                Panel(
                    "Requests to the hook",
                    "Batches a second that the app's backend was asked about: `failed` without a usable "
                    "answer, `paused` unasked because several have failed.",
                    "cps",
                    {"{{outcome}}": rate("bbgram_worker_hook_requests_total", "outcome")},
                ),
                Panel(
                    "Wait for the hook",
                    "How long batches have waited for the answer; workers do nothing else meanwhile.",
                    "s",
                    quantiles("bbgram_worker_hook_seconds"),
                    red_from=0.5,
                ),
                Panel(
                    "What the hook says",
                    "Messages and edits a second by what becomes of them.",
                    "cps",
                    {"{{outcome}}": rate("bbgram_worker_hook_messages_total", "outcome")},
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Sweep",
            graphs=[
                Panel(
                    "Sweeps",
                    "Sweeps a second by outcome, usually one in 5 s. If there are none, beat is down, or "
                    "no worker works.",
                    "cps",
                    {"{{outcome}}": rate("bbgram_worker_sweeps_total", "outcome")},
                ),
                Panel(
                    "Lag of the sweep",
                    "For how long the oldest due chat has been due.",
                    "s",
                    {"lag": "max(bbgram_worker_sweep_age_seconds)"},
                    red_from=60,
                ),
                Panel(
                    "Swept",
                    "Chats that were due, and messages that were published again because no client had "
                    "confirmed them.",
                    "cps",
                    {
                        "chats": rate("bbgram_worker_swept_chats_total"),
                        "messages": rate("bbgram_worker_swept_messages_total"),
                    },
                ),
            ],
        ),
        Row("Processes", graphs=processes("worker")),
    ],
)
