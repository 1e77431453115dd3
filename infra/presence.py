"""Who is connected where, as the edges have registered it in Redis."""

from collections.abc import Collection

from redis import Redis

from infra.wire import names
from infra.wire.clock import RedisClock


class Presence:
    """Reads the registry. Entries of an edge whose lease has ended count for nothing."""

    def __init__(self, redis: Redis, clock: RedisClock | None = None) -> None:
        self._redis = redis
        self._clock = clock or RedisClock()

    def edges_of(self, user_ids: Collection[str]) -> dict[str, list[str]]:
        """Return the live edges that hold sockets of each user, in one round trip."""
        if not user_ids:
            return {}
        order = sorted(user_ids)
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        pipe.zrange(names.LEASES_KEY, 0, -1, withscores=True)
        for user_id in order:
            pipe.smembers(names.user_edges_key(user_id))
        (seconds, micros), leases, *held = pipe.execute()
        now_ms = self._clock.note(seconds, micros)
        live = {edge for edge, ends_ms in leases if ends_ms > now_ms}
        return {
            user_id: [edge.decode() for edge in edges & live]
            for user_id, edges in zip(order, held, strict=True)
        }

    def online(self, user_ids: Collection[str]) -> frozenset[str]:
        """Return those of the users that have a live socket anywhere."""
        return frozenset(user_id for user_id, edges in self.edges_of(user_ids).items() if edges)
