"""Who is connected where, as the edges have registered it in Redis."""

from collections.abc import Collection, Iterator
from typing import Any, Final

from redis import Redis

from infra.wire import names
from infra.wire.clock import RedisClock

_LOOK_UP: Final = """
local held = {}
for place = 2, #KEYS do held[place - 1] = redis.call('SMEMBERS', KEYS[place]) end
return {redis.call('TIME'), redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), held}
"""
"""One command for all users: what a client library spends on each command is more than Redis does."""


class Presence:
    """Reads the registry. Entries of an edge whose lease has ended count for nothing."""

    def __init__(self, redis: Redis, clock: RedisClock | None = None) -> None:
        self._look_up = redis.register_script(_LOOK_UP)
        self._clock = clock or RedisClock()

    def edges_of(self, user_ids: Collection[str]) -> dict[str, list[str]]:
        """Return the live edges that hold sockets of each user, in one round trip."""
        if not user_ids:
            return {}
        order = list(user_ids)
        answer: Any = self._look_up([names.LEASES_KEY, *map(names.user_edges_key, order)])
        (seconds, micros), leases, held = answer
        now_ms = self._clock.note(int(seconds), int(micros))
        live = {edge: edge.decode() for edge, ends_ms in _pairs(leases) if float(ends_ms) > now_ms}
        return {
            user_id: [live[edge] for edge in edges if edge in live]
            for user_id, edges in zip(order, held, strict=True)
        }

    def online(self, user_ids: Collection[str]) -> frozenset[str]:
        """Return those of the users that have a live socket anywhere."""
        return frozenset(user_id for user_id, edges in self.edges_of(user_ids).items() if edges)


def _pairs(flat: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    items = iter(flat)
    return zip(items, items, strict=True)
