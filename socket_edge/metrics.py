"""The metrics of an edge."""

from typing import Final

from infra.metrics.registry import WAIT_BUCKETS, LocalCounter, LocalHistogram, counter, gauge

SOCKETS: Final = gauge("bbgram_edge_sockets", "Signed-in sockets.")
USERS: Final = gauge("bbgram_edge_users", "Users with a socket here.")
SIGN_INS: Final = LocalCounter(
    "bbgram_edge_sign_ins_total",
    "Sign-ins by outcome: `ok`, the reason of a refusal, or the error code of one that has no reason.",
    ["outcome"],
)
REFUSED_CONNECTIONS: Final = counter(
    "bbgram_edge_refused_connections_total",
    "Connections refused with HTTP 429: too many open `sockets`, or too many `connects`, from one address.",
    ["limit"],
)
DISCONNECTS: Final = LocalCounter(
    "bbgram_edge_disconnects_total",
    "Ends of sign-ins and of connections without one, by reason; `slow_client` are those cut off because "
    "they do not read.",
    ["reason", "signed_in"],
)
RECEIVED_BYTES: Final = LocalCounter(
    "bbgram_edge_received_bytes_total", "Bytes of frames, and of bodies of polling clients."
)
SENT_BYTES: Final = LocalCounter("bbgram_edge_sent_bytes_total", "The same, in the other direction.")

EVENTS: Final = LocalCounter(
    "bbgram_edge_events_total",
    "Events of clients, by name (`unknown` for no known one) and outcome: `ok` or the error code.",
    ["event", "outcome"],
)
ACK_SECONDS: Final = LocalHistogram(
    "bbgram_edge_ack_seconds",
    "From the arrival of an event to its answer. Events that the edge refuses itself are not in it.",
    ["event"],
    buckets=WAIT_BUCKETS,
)
API_REQUESTS: Final = LocalCounter(
    "bbgram_edge_api_requests_total",
    "Calls of the server API, by their names and those of their keys (`unknown` for no known one), and by "
    "HTTP status.",
    ["call", "key", "status"],
)
API_SECONDS: Final = LocalHistogram(
    "bbgram_edge_api_seconds",
    "From the arrival of a call of the server API to its answer.",
    ["call"],
    buckets=WAIT_BUCKETS,
)
DELIVERY_SECONDS: Final = LocalHistogram(
    "bbgram_edge_delivery_seconds",
    "From the publication of messages, right after their commit, to their emission, by the clock of Redis; "
    "once for all messages of an entry of the inbox.",
    buckets=WAIT_BUCKETS,
)
INBOX_LAG: Final = gauge(
    "bbgram_edge_inbox_lag_seconds", "The same for the entry of the inbox that was read last."
)
UNREAD_ENTRIES: Final = counter(
    "bbgram_edge_unread_entries_total",
    "Entries of the inbox that could not be read: `too_new`, from a worker of a newer release, or `broken`.",
    ["reason"],
)
INBOX_READING: Final = gauge("bbgram_edge_inbox_reading", "1 if the inbox could be read the last time.")

WAITING: Final = gauge(
    "bbgram_edge_waiting_events",
    "Events without an answer, by lane: those that wait for their turn, and those in flight.",
    ["lane"],
)
OLDEST_WAITING: Final = gauge(
    "bbgram_edge_oldest_waiting_seconds",
    "Age of the oldest of them; 0 if there is none. Workers are scaled by it.",
    ["lane"],
)
BATCH_EVENTS: Final = LocalHistogram(
    "bbgram_edge_batch_events",
    "Events in a batch.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
DISPATCH_SECONDS: Final = LocalHistogram(
    "bbgram_edge_dispatch_seconds",
    "How long Redis takes to put a batch on the queue.",
    buckets=WAIT_BUCKETS,
)
REDISPATCHES: Final = counter("bbgram_edge_redispatches_total", "Batches sent again, for want of a result.")
ABANDONED: Final = counter(
    "bbgram_edge_abandoned_batches_total", "Batches without a result until their deadline."
)
WORKERS_ANSWERING: Final = gauge(
    "bbgram_edge_workers_answering", "1 if a worker has answered lately, and can reach Postgres."
)
LEASE_HELD: Final = gauge(
    "bbgram_edge_lease_held", "1 if the edge holds its lease; without it, nothing is published to it."
)
LOOP_DELAY: Final = LocalHistogram(
    "bbgram_edge_loop_delay_seconds",
    "How late the event loop runs what is due, measured twice a second.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
JWKS_FETCHES: Final = counter(
    "bbgram_edge_jwks_fetches_total", "Fetches of the published keys: `ok` or `failed`.", ["outcome"]
)
