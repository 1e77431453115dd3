"""Erases what Redis holds of a user: where they are connected, and events that edges have long read."""

from typing import Any, Final
from uuid import UUID

from redis import Redis

from infra.presence import PresenceReader
from infra.wire import names

UNREAD_S: Final = 30
"""Longer than the lease of an edge: one that has not read an entry for so long has lost its lease.

Such an edge looks for lost entries, and brings its sockets up to date.
"""


def is_connected(redis: Redis, user_id: UUID, prefix: str) -> bool:
    """Return whether the user has a socket anywhere. Raises redis.RedisError."""
    return bool(PresenceReader(redis, prefix=prefix).online([str(user_id)]))


def forget_user(redis: Redis, user_id: UUID, prefix: str) -> int:
    """Remove where an offline user was connected. Return how many entries there were."""
    user = str(user_id)
    pipe = redis.pipeline(transaction=True)
    pipe.delete(prefix + names.user_edges_key(user))
    for edge_id in _edges(redis, prefix):
        pipe.srem(prefix + names.edge_users_key(edge_id), user)
    return sum(pipe.execute())


def trim_streams(redis: Redis, until_ms: int, prefix: str) -> int:
    """Remove what was published before a time, of any user. Return how many entries there were."""
    return sum(
        int(redis.xtrim(prefix + names.inbox_key(edge_id), minid=f"{until_ms}-0", approximate=False))
        for edge_id in _edges(redis, prefix)
    )


def _edges(redis: Redis, prefix: str) -> list[str]:
    """Return all edges that have, or had lately, a lease."""
    found: Any = redis.zrange(prefix + names.LEASES_KEY, 0, -1)
    return [edge.decode() for edge in found]
