"""Functions: their runs, notifications, and the archive. Those on AWS Lambda are in CloudWatch."""

from typing import Final

from infra.deploy.grafana.panel import Dashboard, Panel, Row
from infra.deploy.grafana.processes import log_lines, processes
from infra.deploy.grafana.promql import mean, rate

_RUNS: Final = rate("bbgram_function_runs_total", "function", "outcome")
_SENT: Final = rate("bbgram_notifications_total", "channel", "outcome")
_EVENTS: Final = rate("bbgram_webhook_events_total", "endpoint", "outcome")
_LAST_RUN: Final = "bbgram_function_last_run_timestamp_seconds"

FUNCTIONS: Final = Dashboard(
    "functions",
    "functions",
    "Runs of functions, notifications and the archive, if workers run them; functions on AWS Lambda are in "
    "CloudWatch.",
    [
        Row(
            "Runs",
            graphs=[
                Panel(
                    "Runs",
                    "Runs a minute by outcome: a run that is `out_of_time` is continued by the next one.",
                    "cpm",
                    {"{{function}} {{outcome}}": f"60 * {_RUNS}"},
                ),
                Panel(
                    "Duration",
                    "Mean duration of runs.",
                    "s",
                    {"{{function}}": mean("bbgram_function_seconds", "function")},
                ),
                Panel(
                    "Since the last run",
                    "How long ago a run ended without an error: `webhooks` runs each few seconds, "
                    "`offline_delivery` each minute, the others each night.",
                    "s",
                    {"{{function}}": f"time() - max by (function) ({_LAST_RUN})"},
                ),
                Panel(
                    "Missed",
                    "Times of the schedule in the last hour that no run took in time.",
                    "none",
                    {"{{function}}": "sum by (function) (increase(bbgram_function_missed_total[1h]))"},
                    red_from=1,
                ),
            ],
        ),
        Row(
            "Webhooks",
            graphs=[
                Panel(
                    "Events",
                    "Events of webhooks a minute by endpoint and what became of them: `refused` are tried "
                    "again, `dead` were given up.",
                    "cpm",
                    {"{{endpoint}} {{outcome}}": f"60 * {_EVENTS}"},
                ),
                Panel(
                    "Oldest event",
                    "For how long the oldest event has waited. It grows while an endpoint is down.",
                    "s",
                    {"waiting": "max(bbgram_worker_webhook_age_seconds)"},
                    red_from=900,
                ),
                Panel(
                    "Requests",
                    "Mean duration of requests to an endpoint.",
                    "s",
                    {"{{endpoint}}": mean("bbgram_webhook_request_seconds", "endpoint")},
                ),
            ],
        ),
        Row(
            "Notifications",
            graphs=[
                Panel(
                    "Notifications",
                    "Notifications a minute by channel and what became of them: `later` is tried again, "
                    "`gone` and `refused` are not.",
                    "cpm",
                    {"{{channel}} {{outcome}}": f"60 * {_SENT}"},
                    stacked=True,
                ),
                Panel(
                    "Open notifications",
                    "Notifications that have been open for more than 15 minutes, up to 1,000.",
                    "none",
                    {"open": "max(bbgram_worker_open_notifications)"},
                    red_from=1,
                ),
                Panel(
                    "Tasks on the queue",
                    "Runs and notifications that wait for a functions worker. If they only grow, none is "
                    "running.",
                    "short",
                    {"waiting": "bbgram:functions_queue_length:max"},
                ),
            ],
        ),
        Row(
            "Archive and log",
            graphs=[
                Panel(
                    "Archived messages",
                    "Messages that were moved to the archive in the last day.",
                    "short",
                    {"messages": "sum(increase(bbgram_archived_messages_total[1d]))"},
                ),
                Panel(
                    "Archived bytes",
                    "Compressed bytes that were written to the archive in the last day.",
                    "bytes",
                    {"bytes": "sum(increase(bbgram_archived_bytes_total[1d]))"},
                ),
                log_lines("functions"),
            ],
        ),
        Row("Processes", graphs=processes("functions")),
    ],
)
