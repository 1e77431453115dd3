"""Removes from Redis what edges that are long gone have left there.

An edge that finds no valid lease makes its inbox anew, writes its lease, and registers all its users after
that. So nothing is lost that was removed while the lease was missing or over, provided that the look at
the lease and the removal are one step: both scripts look before they remove. Should they hit the moment
between a new inbox and its lease, the edge misses its inbox at the next refresh and registers again.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from redis import Redis

from functions.context import Summary
from functions.pacer import Pacer
from infra.wire import names

_SLICE = 1_000
"""About how many keys one step of a scan looks at."""

_INBOXES: Final = names.inbox_key("*")
_EDGE_USERS: Final = names.edge_users_key("*")
_USER_EDGES: Final = names.user_edges_key("*")

# KEYS: leases, inbox and users of the edge. ARGV: the edge, the time before which its lease must have ended,
# how long its keys must have been idle if it has no lease (unknown under an LFU policy: kept), 1 for dry.
_IS_GONE: Final = """
local function is_gone()
    local ends_ms = redis.call('ZSCORE', KEYS[1], ARGV[1])
    if ends_ms then
        return tonumber(ends_ms) < tonumber(ARGV[2])
    end
    for _, key in ipairs({KEYS[2], KEYS[3]}) do
        if redis.call('EXISTS', key) == 1 then
            local idle_s = redis.pcall('OBJECT', 'IDLETIME', key)
            if type(idle_s) ~= 'number' or idle_s < tonumber(ARGV[3]) then
                return false
            end
        end
    end
    return true
end
"""
_FORGET_EDGE: Final = f"""{_IS_GONE}
if not is_gone() then
    return {{0, 0}}
end
local streams = redis.call('EXISTS', KEYS[2])
local found = streams + redis.call('EXISTS', KEYS[3])
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    found = found + 1
end
if ARGV[4] == '0' then
    redis.call('UNLINK', KEYS[2], KEYS[3])
    redis.call('ZREM', KEYS[1], ARGV[1])
end
return {{found > 0 and 1 or 0, streams}}
"""
_FORGET_USER: Final = f"""{_IS_GONE}
if not is_gone() then
    return 0
end
return redis.call(ARGV[4] == '0' and 'SREM' or 'SISMEMBER', KEYS[4], ARGV[1])
"""


def clean_registry(redis: Redis, wait_s: float, pacer: Pacer, *, dry_run: bool) -> Summary:
    """Forget the edges whose lease was over `wait_s` ago, or that have none and were idle for so long.

    Raises redis.RedisError; the next run makes up for it.
    """
    cleanup = _Cleanup(redis, wait_s, pacer, dry_run)
    # Inboxes first: an edge that is alive after all notices that, and nothing else.
    edges, streams = cleanup.forget_edges()
    return {"edges": edges, "streams": streams, "presence": cleanup.forget_presence()}


class _Cleanup:
    """One run over the keys."""

    def __init__(self, redis: Redis, wait_s: float, pacer: Pacer, dry_run: bool) -> None:
        self._redis = redis
        self._pacer = pacer
        seconds, micros = redis.time()
        self._ended_before_ms = seconds * 1000 + micros // 1000 - int(wait_s * 1000)
        self._more_args = [self._ended_before_ms, wait_s, int(dry_run)]
        self._forget_edge = redis.register_script(_FORGET_EDGE)
        self._forget_user = redis.register_script(_FORGET_USER)

    def forget_edges(self) -> tuple[int, int]:
        """Remove leases, inboxes and users of edges; return the number of edges, and of inboxes."""
        edges = streams = 0
        for edge_ids in self._find_edges():
            pipe = self._redis.pipeline(transaction=False)
            for edge_id in edge_ids:
                self._forget_edge(_keys(edge_id), [edge_id, *self._more_args], client=pipe)
            counts = pipe.execute()
            edges += sum(count[0] for count in counts)
            streams += sum(count[1] for count in counts)
        return edges, streams

    def forget_presence(self) -> int:
        """Remove edges from the sets of their users; return the number of entries."""
        entries = 0
        for page in self._scan(_USER_EDGES):
            pipe = self._redis.pipeline(transaction=False)
            for key, edge_id in self._find_presence(sorted(set(page))):
                self._forget_user([*_keys(edge_id), key], [edge_id, *self._more_args], client=pipe)
            entries += sum(pipe.execute())
        return entries

    def _find_edges(self) -> Iterator[list[str]]:
        """Yield the edges that there is a trace of, each once."""
        seen: set[str] = set()
        for found in self._find_traces():
            yield sorted(found - seen)
            seen |= found

    def _find_traces(self) -> Iterator[set[str]]:
        leases = self._pages(lambda cursor: self._redis.zscan(names.LEASES_KEY, cursor, count=_SLICE))
        for page in leases:
            yield {edge.decode() for edge, _ in page}
        for pattern in (_INBOXES, _EDGE_USERS):
            prefix, _, suffix = pattern.partition("*")
            for keys in self._scan(pattern):
                yield {key.decode().removeprefix(prefix).removesuffix(suffix) for key in keys}

    def _find_presence(self, keys: Sequence[bytes]) -> list[tuple[bytes, str]]:
        """Return which of the users' sets name an edge that may be gone."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zrangebyscore(names.LEASES_KEY, self._ended_before_ms, "+inf")
        for key in keys:
            pipe.smembers(key)
        kept, *held = pipe.execute()
        return [
            (key, edge.decode())
            for key, edges in zip(keys, held, strict=True)
            for edge in edges.difference(kept)
        ]

    def _scan(self, pattern: str) -> Iterator[list[bytes]]:
        return self._pages(lambda cursor: self._redis.scan(cursor, match=pattern, count=_SLICE))

    def _pages(self, scan: Callable[[int], Any]) -> Iterator[Any]:
        """Yield page after page, until the scan is through or the time is over."""
        cursor = 0
        while not self._pacer.out_of_time:
            cursor, page = scan(cursor)
            yield page
            if cursor == 0:
                return


def _keys(edge_id: str) -> list[str]:
    return [names.LEASES_KEY, names.inbox_key(edge_id), names.edge_users_key(edge_id)]
