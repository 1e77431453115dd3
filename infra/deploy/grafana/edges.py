"""Edges: who is connected, what they send, how fast it is answered and delivered."""

from typing import Final

from infra.deploy.grafana.panel import Dashboard, Panel, Row
from infra.deploy.grafana.processes import log_lines, processes
from infra.deploy.grafana.promql import mean, quantile, quantiles, rate

_EACH: Final = ("job", "instance")

EDGES: Final = Dashboard(
    "edges",
    "edges",
    "Who is connected, what they send, and how fast it is answered and delivered.",
    [
        Row(
            "Connections",
            graphs=[
                Panel(
                    "Sockets",
                    "Signed-in sockets on each edge. They should be spread evenly.",
                    "short",
                    {"{{instance}}": "sum by (job, instance) (bbgram_edge_sockets)"},
                    stacked=True,
                ),
                Panel(
                    "Sign-ins",
                    "Sign-ins a second by outcome; docs/operations.md explains each refusal.",
                    "reqps",
                    {"{{outcome}}": rate("bbgram_edge_sign_ins_total", "outcome")},
                    stacked=True,
                ),
                Panel(
                    "Disconnects",
                    "Ends of connections a second by reason: `slow_client` does not read what it gets, "
                    "`flood` goes on above "
                    "its limits.",
                    "cps",
                    {"{{reason}}": rate("bbgram_edge_disconnects_total", "reason")},
                    stacked=True,
                ),
                Panel(
                    "Connections refused to addresses",
                    "Connections a second that got HTTP 429, by limit. If the address is that of your "
                    "proxy, the edges do not "
                    "trust it.",
                    "reqps",
                    {"{{limit}}": rate("bbgram_edge_refused_connections_total", "limit")},
                ),
                Panel(
                    "Bytes in and out",
                    "Bytes a second from and to clients.",
                    "Bps",
                    {
                        "received": rate("bbgram_edge_received_bytes_total"),
                        "sent": rate("bbgram_edge_sent_bytes_total"),
                    },
                ),
                Panel(
                    "Fetches of the published keys",
                    "How often the signing keys were fetched, by outcome.",
                    "cps",
                    {"{{outcome}}": rate("bbgram_edge_jwks_fetches_total", "outcome")},
                ),
            ],
        ),
        Row(
            "Events",
            graphs=[
                Panel(
                    "Events",
                    "Events of clients a second on each edge.",
                    "reqps",
                    {"{{instance}}": rate("bbgram_edge_events_total", *_EACH)},
                    stacked=True,
                ),
                Panel(
                    "Refused events",
                    "Events that got an error, by its code. With many `rate_limited`, a client floods.",
                    "reqps",
                    {
                        "{{event}} {{outcome}}": rate(
                            'bbgram_edge_events_total{outcome!="ok"}', "event", "outcome"
                        )
                    },
                    stacked=True,
                ),
                Panel(
                    "Answers by event",
                    "99th percentile of the time from the arrival of an event to its answer.",
                    "s",
                    {"{{event}}": quantile(0.99, "bbgram_edge_ack_seconds", "event")},
                    red_from=1,
                ),
                Panel(
                    "Answers by edge",
                    "The same on each edge. If one differs, look at its event loop.",
                    "s",
                    {"{{instance}}": quantile(0.99, "bbgram_edge_ack_seconds", *_EACH)},
                    red_from=1,
                ),
                Panel(
                    "Calls of the server API",
                    "Calls a second by name and HTTP status.",
                    "reqps",
                    {"{{call}} {{status}}": rate("bbgram_edge_api_requests_total", "call", "status")},
                    stacked=True,
                ),
                Panel(
                    "Answers to calls",
                    "99th percentile of the time from the arrival of a call to its answer.",
                    "s",
                    {"{{call}}": quantile(0.99, "bbgram_edge_api_seconds", "call")},
                    red_from=1,
                ),
                Panel(
                    "Delivery by edge",
                    "99th percentile of the time from the commit of a message to its emission.",
                    "s",
                    {"{{instance}}": quantile(0.99, "bbgram_edge_delivery_seconds", *_EACH)},
                    red_from=1,
                ),
                Panel(
                    "Lag of the inbox",
                    "How old the entry of the inbox was that an edge read last.",
                    "s",
                    {"{{instance}}": "max by (job, instance) (bbgram_edge_inbox_lag_seconds)"},
                    red_from=1,
                ),
            ],
        ),
        Row(
            "On the way to the workers",
            numbers=[
                Panel(
                    "Workers answer",
                    "1 if all edges hear from workers that can reach Postgres.",
                    "none",
                    {"answer": "min(bbgram_edge_workers_answering)"},
                    red_below=1,
                ),
                Panel(
                    "Inboxes are read",
                    "1 if all edges can read their inbox in Redis.",
                    "none",
                    {"read": "min(bbgram_edge_inbox_reading)"},
                    red_below=1,
                ),
                Panel(
                    "Leases are held",
                    "1 if all edges hold their lease in Redis; nothing is published to one without.",
                    "none",
                    {"held": "min(bbgram_edge_lease_held)"},
                    red_below=1,
                ),
            ],
            graphs=[
                Panel(
                    "Oldest waiting event",
                    "Age of the oldest event without an answer, by lane. Scale workers by it. One lane "
                    "alone: a batch of it hangs.",
                    "s",
                    {"lane {{lane}}": "max by (lane) (bbgram_edge_oldest_waiting_seconds)"},
                    red_from=2,
                ),
                Panel(
                    "Waiting events",
                    "Events without an answer, by lane: those that wait for their turn, and those in flight.",
                    "short",
                    {"lane {{lane}}": "sum by (lane) (bbgram_edge_waiting_events)"},
                    stacked=True,
                ),
                Panel(
                    "Events in a batch",
                    "How many events edges send together: more under load, which makes workers more "
                    "efficient.",
                    "none",
                    {
                        "mean": mean("bbgram_edge_batch_events"),
                        "p99": quantile(0.99, "bbgram_edge_batch_events"),
                    },
                ),
                Panel(
                    "Writes to Redis",
                    "How long Redis takes to put a batch on the queue; usual are a few milliseconds.",
                    "s",
                    quantiles("bbgram_edge_dispatch_seconds"),
                    red_from=0.1,
                ),
                Panel(
                    "Batches sent again, batches given up",
                    "A batch is sent again when a worker died or is slow, and given up at the deadline: "
                    "its clients got an error.",
                    "cps",
                    {
                        "sent again": rate("bbgram_edge_redispatches_total"),
                        "given up": rate("bbgram_edge_abandoned_batches_total"),
                    },
                ),
                Panel(
                    "Delay of the event loop",
                    "99th percentile of how late an edge does what is due. If it stays high, add edges.",
                    "s",
                    {"{{instance}}": quantile(0.99, "bbgram_edge_loop_delay_seconds", *_EACH)},
                    red_from=0.1,
                ),
                log_lines("edge"),
            ],
        ),
        Row("Processes", graphs=processes("edge")),
    ],
)
