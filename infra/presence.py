"""Who is connected where: what edges register in Redis, and how everybody else reads it.

An edge holds a lease in the sorted set `names.LEASES_KEY`. Whether a lease is alive is decided here and
nowhere else, by the clock of Redis; without a live lease, what an edge has registered is ignored.
Every key but the leases expires by itself, unless its edge refreshes it.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from redis import Redis

from infra.wire import names
from infra.wire.clock import RedisClock

REGISTRY_TTL_S: Final = 3_600
"""How long an edge's inbox and registrations outlive their last refresh, in seconds."""

LIVE_EDGES: Final = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local live = {}
for _, edge in ipairs(redis.call('ZRANGE', KEYS[1], '(' .. now_ms, '+inf', 'BYSCORE')) do
    live[edge] = true
end
"""
"""Lua: binds `live`, the set of edges whose lease is alive, `now_ms`, and `time`, the reply of TIME.

The first key of a script that starts with it is `names.LEASES_KEY`.
"""

_LOOK_UP: Final = f"""{LIVE_EDGES}
local found = {{}}
for place = 2, #KEYS do
    local edges = {{}}
    for _, edge in ipairs(redis.call('SMEMBERS', KEYS[place])) do
        if live[edge] then edges[#edges + 1] = edge end
    end
    found[place - 1] = edges
end
return {{time, found}}
"""
"""One command for all users: a client library spends more on each command than Redis does."""

_FIND_ENDED: Final = f"""{LIVE_EDGES}
local ended = {{}}
for _, edge in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if not live[edge] then ended[#ended + 1] = edge end
end
return ended
"""
_REMOVE_USERS: Final = f"""{LIVE_EDGES}
local edge = ARGV[1]
if live[edge] then return end
for place = 3, #KEYS do
    redis.call('SREM', KEYS[2], ARGV[place - 1])
    redis.call('SREM', KEYS[place], edge)
end
"""
_FORGET_ENDED: Final = f"""{LIVE_EDGES}
local edge = ARGV[1]
if live[edge] or redis.call('SCARD', KEYS[2]) > 0 then return 0 end
redis.call('EXPIRE', KEYS[3], {REGISTRY_TTL_S})
return redis.call('ZREM', KEYS[1], edge)
"""
"""Sets the expiry too: an edge may have died before it could do so."""

RENEW_LEASE: Final = f"""{LIVE_EDGES}
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local is_unbroken = live[ARGV[1]] and tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1])) == tonumber(ARGV[3])
local ends_ms = now_ms + ARGV[2]
redis.call('ZADD', KEYS[1], ends_ms, ARGV[1])
redis.call('EXPIRE', KEYS[2], {REGISTRY_TTL_S})
redis.call('EXPIRE', KEYS[3], {REGISTRY_TTL_S})
return {{tonumber(time[1]), tonumber(time[2]), is_unbroken and 1 or 0, ends_ms, server}}
"""
"""Lua for an edge: extends its lease, and keeps its inbox and its set of users from expiring.

Call it with `renewal()`. It returns four integers: the reply of TIME (seconds and microseconds), 1 if the
lease has been alive since the last reply that the edge saw, and the new end of the lease. If the third is 0,
others may have dropped what the edge registered: it must create its inbox anew, then register all its users
again. The new inbox needs an expiry, REGISTRY_TTL_S, from the start.

The fifth is the id of the Redis process, or an empty string if Redis does not tell it. Another process may
have come back without the last seconds, or be a replica that lacks them: what was written then may be gone.
"""

REGISTER_USERS: Final = f"""{LIVE_EDGES}
local edge, here, users = ARGV[1], tonumber(ARGV[2]), #ARGV - 2
for place = 3, users + 2 do
    local key, user = KEYS[place], ARGV[place]
    for _, other in ipairs(redis.call('SMEMBERS', key)) do
        if other ~= edge and not live[other] then redis.call('SREM', key, other) end
    end
    if place - 2 <= here then
        redis.call('SADD', key, edge)
        redis.call('EXPIRE', key, {REGISTRY_TTL_S})
        redis.call('SADD', KEYS[2], user)
    else
        redis.call('SREM', key, edge)
        redis.call('SREM', KEYS[2], user)
    end
end
redis.call('EXPIRE', KEYS[2], {REGISTRY_TTL_S})
local signed_out = {{}}
for place = 3, users + 2 do
    local moment_ms = redis.call('GET', KEYS[place + users])
    if moment_ms then signed_out[#signed_out + 1] = {{ARGV[place], moment_ms}} end
end
return signed_out
"""
"""Lua for an edge: registers users with sockets there, and removes users who have none.

Returns those of them who were signed out everywhere, each with the moment (`SignOuts`).

Call it with `registration()`. It also removes edges without a live lease from the sets of these users, or the
set of a user who is always online somewhere would collect them forever.
"""

SIGNED_OUT_S: Final = 691_200
"""How long it is remembered that a user was signed out, in seconds: longer than any token lasts."""

_SIGN_OUT: Final = f"""
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
for _, key in ipairs(KEYS) do redis.call('SET', key, now_ms, 'EX', {SIGNED_OUT_S}) end
return now_ms
"""

WITHDRAW: Final = f"""
redis.call('DEL', KEYS[3])
if redis.call('EXPIRE', KEYS[2], {REGISTRY_TTL_S}) == 0 then
    redis.call('ZREM', KEYS[1], ARGV[1])
else
    redis.call('ZADD', KEYS[1], 0, ARGV[1])
end
"""
"""Lua for an edge that stops: ends its lease at once. Call it with `withdrawal()`. Returns nothing.

The lease of an edge that still has users stays listed, so that the sweep announces them as offline.
"""

REFRESH_USERS: Final = f"""
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, {REGISTRY_TTL_S}) end
"""
"""Lua for an edge: keeps the sets of users from expiring. Call it with `refreshment()`. Returns nothing."""

ScriptCall = tuple[list[str], list[str | int]]
"""Keys and arguments of a script, as redis-py's clients take them."""


def renewal(edge_id: str, lease_ms: int, known_end_ms: int, prefix: str = "") -> ScriptCall:
    """Return the call of RENEW_LEASE that makes the edge's lease end `lease_ms` from now.

    `known_end_ms` is the end of the lease in the last reply that the edge has seen, 0 before the first one.
    Thus a lost reply cannot hide that the lease had ended.
    """
    return _edge_keys(edge_id, prefix), [edge_id, lease_ms, known_end_ms]


def registration(edge_id: str, here: Sequence[str], gone: Sequence[str], prefix: str = "") -> ScriptCall:
    """Return the call of REGISTER_USERS for users with sockets on the edge, and for users without any."""
    user_ids = [*here, *gone]
    moments = [prefix + names.signed_out_key(user_id) for user_id in user_ids]
    return [*_user_keys(edge_id, user_ids, prefix), *moments], [edge_id, len(here), *user_ids]


def refreshment(user_ids: Collection[str], prefix: str = "") -> ScriptCall:
    """Return the call of REFRESH_USERS for users with sockets on the edge; due within REGISTRY_TTL_S."""
    return [prefix + names.user_edges_key(user_id) for user_id in user_ids], []


def withdrawal(edge_id: str, prefix: str = "") -> ScriptCall:
    """Return the call of WITHDRAW."""
    return _edge_keys(edge_id, prefix), [edge_id]


def _edge_keys(edge_id: str, prefix: str) -> list[str]:
    keys = (names.LEASES_KEY, names.edge_users_key(edge_id), names.inbox_key(edge_id))
    return [prefix + key for key in keys]


def _user_keys(edge_id: str, user_ids: Sequence[str], prefix: str) -> list[str]:
    keys = (names.LEASES_KEY, names.edge_users_key(edge_id), *map(names.user_edges_key, user_ids))
    return [prefix + key for key in keys]


class PresenceReader:
    """Reads which edges hold sockets of which users."""

    def __init__(self, redis: Redis, clock: RedisClock | None = None, prefix: str = "") -> None:
        self._look_up = redis.register_script(_LOOK_UP)
        self._clock = clock or RedisClock()
        self._prefix = prefix

    def edges_of(self, user_ids: Collection[str]) -> dict[str, list[str]]:
        """Return the live edges that hold sockets of each user, in one round trip.

        Raises redis.RedisError.
        """
        if not user_ids:
            return {}
        order = list(user_ids)
        keys = (names.LEASES_KEY, *map(names.user_edges_key, order))
        reply: Any = self._look_up([self._prefix + key for key in keys])
        (seconds, micros), found = reply
        self._clock.note(int(seconds), int(micros))
        return {
            user_id: [edge.decode() for edge in edges] for user_id, edges in zip(order, found, strict=True)
        }

    def online(self, user_ids: Collection[str]) -> frozenset[str]:
        """Return those of the users that have a socket anywhere. Raises redis.RedisError."""
        return frozenset(user_id for user_id, edges in self.edges_of(user_ids).items() if edges)


class SignOuts:
    """Remembers when users were signed out everywhere: tokens that were issued until then are refused."""

    def __init__(self, redis: Redis, prefix: str = "") -> None:
        self._sign_out = redis.register_script(_SIGN_OUT)
        self._prefix = prefix

    def record(self, user_ids: Collection[str]) -> int:
        """Sign users out now. Return the moment, in ms since the epoch. Raises redis.RedisError."""
        moment_ms: Any = self._sign_out([self._prefix + names.signed_out_key(one) for one in user_ids])
        return int(moment_ms)


class EndedLeases:
    """The edges that ended without saying so. Each stays listed until its users are announced as offline.

    An edge that has renewed its lease meanwhile keeps everything.
    """

    def __init__(self, redis: Redis, prefix: str = "") -> None:
        self._redis = redis
        self._prefix = prefix
        self._find = redis.register_script(_FIND_ENDED)
        self._remove = redis.register_script(_REMOVE_USERS)
        self._forget = redis.register_script(_FORGET_ENDED)

    def find(self) -> list[str]:
        """Return the edges. Raises redis.RedisError."""
        ended: Any = self._find([self._prefix + names.LEASES_KEY])
        return [edge.decode() for edge in ended]

    def users_of(self, edge_id: str, count: int) -> list[str]:
        """Return at most `count` of the users that an edge still has. Raises redis.RedisError."""
        users: Any = self._redis.srandmember(self._prefix + names.edge_users_key(edge_id), count)
        return [user.decode() for user in users]

    def remove_users(self, edge_id: str, user_ids: Sequence[str]) -> None:
        """Remove users from an edge. Raises redis.RedisError."""
        self._remove(_user_keys(edge_id, user_ids, self._prefix), [edge_id, *user_ids])

    def forget(self, edge_id: str) -> bool:
        """Remove the lease of an edge without users; return whether it is gone. Raises redis.RedisError."""
        return bool(self._forget(_edge_keys(edge_id, self._prefix), [edge_id]))
