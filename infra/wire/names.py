"""Names that edges and workers must agree on: tasks, the queue and Redis keys."""

from typing import Final

RELAY_TASK: Final = "relay.handle"
"""Celery task that takes one `infra.wire.batch.Batch`."""

SWEEP_TASK: Final = "delivery.sweep"
"""Celery task, sent by beat, that finds deliveries nobody confirmed."""

SWEPT_KEY: Final = "bbgram:swept"
"""Exists in Redis while sweeps are run as scheduled, so while beat and a worker are alive."""

FUNCTION_TASK: Final = "functions.run"
"""Celery task, sent by beat, that runs the function with the given name."""

PUSH_TASK: Final = "functions.push"
"""Celery task that sends the notification with the given id."""

QUEUE: Final = "bbgram"
"""The one Celery queue that edges write to and workers read."""

FUNCTIONS_QUEUE: Final = "bbgram-functions"
"""Celery queue of functions, read by workers of their own so that chats never wait for them."""

LEASES_KEY: Final = "bbgram:edges"
"""Sorted set: edge id -> the Redis time (ms since the epoch) at which its lease ends."""

INBOX_FIELD: Final = b"e"
"""The one field of an inbox stream entry; holds an encoded `infra.wire.inbox.InboxEntry`."""


def inbox_key(edge_id: str) -> str:
    """Return the stream that only the edge `edge_id` reads."""
    return f"bbgram:inbox:{edge_id}"


def user_edges_key(user_id: str) -> str:
    """Return the set of ids of the edges that hold sockets of `user_id`."""
    return f"bbgram:user:{user_id}"


def edge_users_key(edge_id: str) -> str:
    """Return the set of ids of the users that have sockets on `edge_id`."""
    return f"bbgram:edge:{edge_id}:users"
