"""Names that edges and workers share: Celery tasks, queues and Redis keys.

Keys and queues are named here without the prefix of a deployment (`BBGRAM_REDIS_PREFIX`), which comes before
each of them in Redis.
"""

from typing import Final

RELAY_TASK: Final = "relay.handle"
"""Celery task that handles one `infra.wire.batch.Batch`."""

SWEEP_TASK: Final = "delivery.sweep"
"""Celery task, sent by beat, that repeats unconfirmed deliveries."""

SWEPT_KEY: Final = "bbgram:swept"
"""Exists in Redis while sweeps run as scheduled, that is, while beat and a worker are alive."""

FUNCTION_TASK: Final = "functions.run"
"""Celery task, sent by beat, that runs a function by name."""

PUSH_TASK: Final = "functions.push"
"""Celery task that sends the notification with a given id."""

QUEUE: Final = "bbgram"
"""The Celery queue from edges to workers."""

FUNCTIONS_QUEUE: Final = "bbgram-functions"
"""The Celery queue of functions. Separate workers read it, so that chats never wait for a function."""

LEASES_KEY: Final = "bbgram:edges"
"""Sorted set: edge id -> Redis time in ms since the epoch at which its lease ends."""

PROCESSES_KEY: Final = "bbgram:processes"
"""Sorted set: id of a process -> Redis time in ms since the epoch until which it counts as running."""

PROCESS_STATES_KEY: Final = "bbgram:processes:states"
"""Hash: id of a process -> what it says of itself, as JSON."""

INBOX_FIELD: Final = b"e"
"""The only field of an inbox stream entry: an encoded `infra.wire.inbox.InboxEntry`."""

CHANGED_KEY: Final = "bbgram:changed"
"""List: chats and the seqs of messages that functions have changed, as JSON, for the sweep to tell of."""

CHANGED_S: Final = 86_400
"""How long the list outlives its last entry, in seconds, while nobody sweeps."""


def inbox_key(edge_id: str) -> str:
    """Return the key of the stream that the edge `edge_id` reads."""
    return f"bbgram:inbox:{edge_id}"


def user_edges_key(user_id: str) -> str:
    """Return the key of the set of edges that hold sockets of `user_id`."""
    return f"bbgram:user:{user_id}"


def signed_out_key(user_id: str) -> str:
    """Return the key of the moment at which a user was signed out everywhere, in ms since the epoch."""
    return f"bbgram:signed-out:{user_id}"


def edge_users_key(edge_id: str) -> str:
    """Return the key of the set of users that have sockets on `edge_id`."""
    return f"bbgram:edge:{edge_id}:users"
