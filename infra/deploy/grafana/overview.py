"""Overview: is the chat well, and if not, where to look next."""

from typing import Final

from infra.deploy.grafana.panel import Dashboard, Panel, Row
from infra.deploy.grafana.promql import quantile, quantiles, rate

_FIRING: Final = 'ALERTS{alertname=~"Bbgram.*",alertstate="firing"}'
_SEND: Final = '{event="send_message"}'

OVERVIEW: Final = Dashboard(
    "overview",
    "overview",
    "Is the chat well? If not, the alerts and the first red number say on which dashboard to go on.",
    [
        Row(
            "Is it well?",
            numbers=[
                Panel(
                    "Alerts",
                    "Alerts that fire now; docs/operations.md has a runbook for each.",
                    "none",
                    {"firing": f"count({_FIRING}) or vector(0)"},
                    red_from=1,
                ),
                Panel(
                    "Answered within 1 s",
                    "Share of the messages of the last hour that were answered within a second. The target "
                    "is 99.9 %.",
                    "percentunit",
                    {"answered": '1 - bbgram:slo_errors:ratio_rate1h{slo="fast_answers"}'},
                    red_below=0.999,
                ),
                Panel(
                    "Answered without a failure of ours",
                    "Share of the messages of the last hour that got no `internal`, `timeout`, "
                    "`unavailable` or `busy`. "
                    "The target is 99.9 %.",
                    "percentunit",
                    {"answered": '1 - bbgram:slo_errors:ratio_rate1h{slo="answers"}'},
                    red_below=0.999,
                ),
                Panel(
                    "Delivered within 1 s",
                    "Share of the messages of the last hour that left for online recipients within a "
                    "second of their commit. "
                    "The target is 99.9 %.",
                    "percentunit",
                    {"delivered": '1 - bbgram:slo_errors:ratio_rate1h{slo="delivery"}'},
                    red_below=0.999,
                ),
                Panel(
                    "Oldest waiting event",
                    "For how long the oldest event without an answer has waited. Add workers when it stays "
                    "above a second or two.",
                    "s",
                    {"age": "bbgram:edge_oldest_waiting_seconds:max"},
                    red_from=2,
                ),
                Panel(
                    "Users",
                    "Users with a socket, counted once for each edge.",
                    "short",
                    {"users": "sum(bbgram_edge_users)"},
                ),
            ],
            graphs=[
                Panel(
                    "Firing alerts",
                    "1 while an alert fires.",
                    "none",
                    {"{{alertname}}": f"max by (alertname) ({_FIRING})"},
                ),
                Panel(
                    "Processes",
                    "How many processes of each kind and version serve their metrics.",
                    "none",
                    {"{{part}} {{version}}": "count by (part, version) (bbgram_build_info)"},
                ),
                Panel(
                    "Warnings and errors in the log",
                    "Lines in the last ten minutes by event; docs/operations.md says what each means.",
                    "none",
                    {"{{level}} {{event}}": "sum by (level, event) (bbgram:log_lines:increase10m) > 0"},
                ),
            ],
        ),
        Row(
            "What clients see",
            graphs=[
                Panel(
                    "Events",
                    "Events of clients a second, by name.",
                    "reqps",
                    {"{{event}}": rate("bbgram_edge_events_total", "event")},
                    stacked=True,
                ),
                Panel(
                    "Refused events",
                    "Events that got an error, by its code. `timeout`, `unavailable`, `internal` and "
                    "`busy` are our failures; "
                    "with many `rate_limited`, a client floods.",
                    "reqps",
                    {"{{outcome}}": rate('bbgram_edge_events_total{outcome!="ok"}', "outcome")},
                    stacked=True,
                ),
                Panel(
                    "Answer to a message",
                    "From the arrival of a message at an edge to its answer.",
                    "s",
                    quantiles(f"bbgram_edge_ack_seconds{_SEND}"),
                    red_from=1,
                ),
                Panel(
                    "Delivery of a message",
                    "From the commit of a message to its emission on a socket of the recipient.",
                    "s",
                    quantiles("bbgram_edge_delivery_seconds"),
                    red_from=1,
                ),
                Panel(
                    "Sockets and users",
                    "Signed-in sockets, and the users who have them.",
                    "short",
                    {"sockets": "sum(bbgram_edge_sockets)", "users": "sum(bbgram_edge_users)"},
                ),
                Panel(
                    "Sign-ins",
                    "Sign-ins a second by outcome; docs/operations.md explains each refusal.",
                    "reqps",
                    {"{{outcome}}": rate("bbgram_edge_sign_ins_total", "outcome")},
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Where it hurts",
            graphs=[
                Panel(
                    "Do workers answer?",
                    "1 if each edge hears from a worker that can reach Postgres. If not, see the dashboard "
                    "of workers.",
                    "none",
                    {"{{instance}}": "min by (job, instance) (bbgram_edge_workers_answering)"},
                ),
                Panel(
                    "Redis",
                    "How long edges and workers take for a write; usual are a few milliseconds. If it grows, "
                    "Redis is slow.",
                    "s",
                    {
                        "edges p95": quantile(0.95, "bbgram_edge_dispatch_seconds"),
                        "workers p95": quantile(0.95, "bbgram_worker_publish_seconds"),
                    },
                    red_from=0.1,
                ),
                Panel(
                    "Postgres",
                    "How long handlers take for a batch, most of it in statements; those that give up on a "
                    "lock are not in it. If it grows, Postgres is slow.",
                    "s",
                    quantiles("bbgram_worker_handler_seconds"),
                    red_from=0.5,
                ),
                Panel(
                    "Errors of Redis and Postgres",
                    "Commands and statements a second that failed, and batches that met a lock which "
                    "something else holds.",
                    "cps",
                    {
                        "Redis": f"{rate('bbgram_redis_errors_total')} or vector(0)",
                        "Postgres": rate('bbgram_postgres_errors_total{error=~"connection|timeout"}')
                        + " or vector(0)",
                        "locks in Postgres": rate("bbgram_worker_lock_waits_total"),
                    },
                ),
                Panel(
                    "Sweeps",
                    "Sweeps a second by outcome, usually one in 5 s. If there are none, beat is down, or "
                    "no worker works.",
                    "cps",
                    {"{{outcome}}": rate("bbgram_worker_sweeps_total", "outcome")},
                ),
                Panel(
                    "Left for somebody to look at",
                    "Dead letters, notifications that have been open for more than 15 minutes, "
                    "reports that nobody has closed, and events of webhooks that were given up.",
                    "none",
                    {
                        "dead letters": "max(bbgram_worker_kept_dead_letters)",
                        "open notifications": "max(bbgram_worker_open_notifications)",
                        "open reports": "max(bbgram_worker_open_reports)",
                        "webhooks given up": "max(bbgram_worker_dead_webhooks)",
                    },
                    red_from=1,
                ),
            ],
        ),
    ],
)
