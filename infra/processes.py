"""Which processes run: each tells Redis every few seconds, and `bbgram status` reads it.

A process holds a lease in the sorted set `names.PROCESSES_KEY`, and what it says of itself is beside it, in
the hash `names.PROCESS_STATES_KEY`. The clock of Redis decides which leases are alive.
"""

import os
import socket
import threading
import time
import uuid
from contextlib import AbstractContextManager, suppress
from typing import Final

import msgspec
from redis import Redis, RedisError

from infra.metrics.registry import REGISTRY
from infra.pulse import PULSE
from infra.redis_client import make_redis
from infra.version import VERSION
from infra.wire import names

_EVERY_S: Final = 5.0
_LEASE_MS: Final = 16_000
_TIMEOUT_S: Final = 3.0
_TTL_S: Final = 3_600
"""How long both keys outlive the last process, in seconds."""

_ANNOUNCE: Final = f"""
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
for _, ended in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', now_ms, 'BYSCORE')) do
    redis.call('ZREM', KEYS[1], ended)
    redis.call('HDEL', KEYS[2], ended)
end
redis.call('ZADD', KEYS[1], now_ms + ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[1], {_TTL_S})
redis.call('EXPIRE', KEYS[2], {_TTL_S})
"""
_READ: Final = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local states = {}
for _, alive in ipairs(redis.call('ZRANGE', KEYS[1], '(' .. now_ms, '+inf', 'BYSCORE')) do
    states[#states + 1] = redis.call('HGET', KEYS[2], alive)
end
return states
"""


def _keys(prefix: str) -> list[str]:
    return [prefix + names.PROCESSES_KEY, prefix + names.PROCESS_STATES_KEY]


SHOWN: Final = {
    "edge": (
        "bbgram_edge_sockets",
        "bbgram_edge_users",
        "bbgram_edge_inbox_lag_seconds",
        "bbgram_edge_inbox_reading",
        "bbgram_edge_lease_held",
        "bbgram_edge_workers_answering",
        "bbgram_edge_waiting_events",
        "bbgram_edge_oldest_waiting_seconds",
    ),
    "worker": ("bbgram_worker_batches_total", "bbgram_worker_last_batch_timestamp_seconds"),
    "functions": ("bbgram_function_last_run_timestamp_seconds",),
    "beat": (),
}
"""By part, the metrics that a process shows of itself."""


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """A metric of a process."""

    name: str
    labels: dict[str, str]
    value: float


class ProcessState(msgspec.Struct, frozen=True, rename="camel"):
    """What a process says of itself."""

    id: str
    part: str
    version: str
    host: str
    pid: int
    started_at: float
    """Seconds since the epoch."""
    pulse_s: float
    """How long ago its main loop came round, in seconds."""
    is_alive: bool
    samples: list[Sample]

    def value(self, name: str) -> float:
        """Return the sum of a metric over its labels; 0 if there is none."""
        return sum(sample.value for sample in self.samples if sample.name == name)

    def largest(self, name: str) -> float:
        """Return the largest value of a metric over its labels; 0 if there is none."""
        return max((sample.value for sample in self.samples if sample.name == name), default=0.0)


class Announcer(AbstractContextManager["Announcer"]):
    """Tells Redis about this process, from a thread of its own, while the context lasts."""

    def __init__(self, redis_url: str, part: str, prefix: str = "") -> None:
        self._redis = make_redis(redis_url, _TIMEOUT_S)
        self._keys = _keys(prefix)
        self._announce = self._redis.register_script(_ANNOUNCE)
        self._id = uuid.uuid4().hex
        self._part = part
        self._started_at = time.time()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)

    def __enter__(self) -> "Announcer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(2 * _TIMEOUT_S)
        with suppress(RedisError):
            leases, states = self._keys
            self._redis.zrem(leases, self._id)
            self._redis.hdel(states, self._id)
        self._redis.close()

    def _run(self) -> None:
        while True:
            # Others report that Redis does not answer.
            with suppress(RedisError):
                self._announce(self._keys, [self._id, _LEASE_MS, msgspec.json.encode(self._state())])
            if self._stopped.wait(_EVERY_S):
                return

    def _state(self) -> ProcessState:
        shown = SHOWN[self._part]
        samples = [
            Sample(sample.name, sample.labels, sample.value)
            for family in REGISTRY.collect()
            for sample in family.samples
            if sample.name in shown
        ]
        return ProcessState(
            id=self._id,
            part=self._part,
            version=VERSION,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            pulse_s=PULSE.age_s,
            is_alive=PULSE.is_alive,
            samples=samples,
        )


def read_processes(redis: Redis, prefix: str = "") -> list[ProcessState]:
    """Return the processes that run. Raises redis.RedisError."""
    states = redis.register_script(_READ)(_keys(prefix))
    processes = [msgspec.json.decode(state, type=ProcessState) for state in states if state]
    return sorted(processes, key=lambda one: (list(SHOWN).index(one.part), one.started_at))
