"""Every fault, in the order in which they run and in which the table of docs/guarantees.md lists them."""

from typing import Final

from tests.faults.faults import (
    clock,
    duplicates,
    edges,
    failover,
    far_apart,
    hooks,
    inboxes,
    keys,
    poison,
    postgres,
    redis_server,
    sentinel,
    silence,
    workers,
)
from tests.faults.faults.fault import Fault

_ALL: Final = (
    workers.killed_before_commit,
    workers.killed_after_commit,
    workers.killed_after_publication,
    workers.killed_at_random,
    edges.killed,
    edges.rolling_restart,
    redis_server.killed,
    redis_server.flushed,
    redis_server.frozen,
    redis_server.full,
    redis_server.read_only,
    redis_server.rolled_back,
    sentinel.primary_killed,
    sentinel.primary_frozen,
    postgres.killed,
    postgres.connections_cut,
    postgres.disk_full,
    postgres.chat_locked,
    failover.killed,
    failover.frozen,
    failover.frozen_of_two,
    failover.killed_behind_pooler,
    silence.nothing_to_postgres,
    silence.nothing_from_postgres,
    silence.nothing_to_redis,
    silence.nothing_from_redis,
    far_apart.slow_and_lossy,
    inboxes.connections_cut,
    inboxes.deleted,
    clock.worker_ahead,
    poison.always_failing,
    duplicates.everything_twice,
    keys.endpoint_broken,
    hooks.endpoint_broken,
)

FAULTS: Final[dict[str, Fault]] = {fault.name: fault for fault in _ALL}
