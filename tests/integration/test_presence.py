"""Leases and the registry of who is connected where, as edges write it and everybody else reads it."""

from typing import Any

import pytest
from redis import Redis

from infra.presence import (
    REFRESH_USERS,
    REGISTER_USERS,
    REGISTRY_TTL_S,
    RENEW_LEASE,
    EndedLeases,
    PresenceReader,
    refreshment,
    registration,
    renewal,
)
from infra.wire import names
from infra.wire.clock import RedisClock
from tests.harness.worker_bench import WorkerBench

LEASE_MS = 600_000


class ScriptedEdge:
    """Calls the scripts as an edge does."""

    def __init__(self, redis: Redis, edge_id: str) -> None:
        self.id = edge_id
        self.known_end_ms = 0
        self._redis = redis
        self._renew = redis.register_script(RENEW_LEASE)
        self._register = redis.register_script(REGISTER_USERS)
        self._refresh = redis.register_script(REFRESH_USERS)

    def renew(self, lease_ms: int = LEASE_MS) -> bool:
        """Renew the lease; tell whether it was alive since the last reply."""
        _, _, is_unbroken, self.known_end_ms, _ = self.call_renewal(lease_ms)
        return bool(is_unbroken)

    def call_renewal(self, lease_ms: int = LEASE_MS) -> Any:
        return self._renew(*renewal(self.id, lease_ms, self.known_end_ms))

    def register(self, *here: str, gone: tuple[str, ...] = ()) -> None:
        self._register(*registration(self.id, here, gone))

    def refresh(self, *user_ids: str) -> None:
        self._refresh(*refreshment(user_ids))

    @property
    def users(self) -> set[str]:
        found: Any = self._redis.smembers(names.edge_users_key(self.id))
        return {user.decode() for user in found}


def scripted(bench: WorkerBench, name: str) -> ScriptedEdge:
    bench.open_edge(f"{bench.edge_id}-{name}", lease_ms=-1)
    return ScriptedEdge(bench.redis, f"{bench.edge_id}-{name}")


@pytest.fixture
def edge(bench: WorkerBench) -> ScriptedEdge:
    """Make an edge whose lease has ended."""
    return scripted(bench, "near")


@pytest.fixture
def other(bench: WorkerBench) -> ScriptedEdge:
    return scripted(bench, "far")


@pytest.fixture
def bob(bench: WorkerBench) -> str:
    user_id, _ = bench.person("bob")
    return str(user_id)


def edges_of(bench: WorkerBench, user_id: str) -> set[str]:
    """Return what the registry holds, dead edges included."""
    found: Any = bench.redis.smembers(names.user_edges_key(user_id))
    return {edge.decode() for edge in found}


def expires_in_time(bench: WorkerBench, key: str) -> bool:
    seconds: Any = bench.redis.ttl(key)
    return bool(REGISTRY_TTL_S - 60 < seconds <= REGISTRY_TTL_S)


def test_a_renewal_tells_whether_the_lease_was_alive(edge: ScriptedEdge) -> None:
    assert [edge.renew(), edge.renew(lease_ms=-1), edge.renew(), edge.renew()] == [False, True, False, True]


def test_a_lost_reply_cannot_hide_that_the_lease_ended(edge: ScriptedEdge) -> None:
    edge.call_renewal()
    assert [edge.renew(), edge.renew()] == [False, True]


def test_a_renewal_tells_the_time_of_redis_and_the_end_of_the_lease(
    bench: WorkerBench, edge: ScriptedEdge
) -> None:
    before: Any = bench.redis.time()
    seconds, micros, _, ends_ms, _ = edge.call_renewal(5_000)
    assert before <= (seconds, micros) <= bench.redis.time()
    assert ends_ms == seconds * 1_000 + micros // 1_000 + 5_000


def test_a_renewal_tells_which_redis_answers(bench: WorkerBench, edge: ScriptedEdge) -> None:
    server: Any = bench.redis.info("server")
    assert edge.call_renewal()[4].decode() == server["run_id"]


def test_a_renewal_needs_no_right_to_ask_which_redis_answers(bench: WorkerBench, edge: ScriptedEdge) -> None:
    bench.redis.acl_setuser(
        "limited", enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=["-info"]
    )
    limited = Redis.from_url(bench.redis_url, username="limited", password="x")
    try:
        *_, is_unbroken, _, server = ScriptedEdge(limited, edge.id).call_renewal()
        assert (is_unbroken, server) == (0, b"")
    finally:
        limited.close()
        bench.redis.acl_deluser("limited")


def test_a_renewal_keeps_inbox_and_users_from_expiring(
    bench: WorkerBench, edge: ScriptedEdge, bob: str
) -> None:
    edge.register(bob)
    keys = (names.inbox_key(edge.id), names.edge_users_key(edge.id))
    for key in keys:
        bench.redis.expire(key, 1)
    edge.renew()
    assert [expires_in_time(bench, key) for key in keys] == [True, True]


def test_an_edge_is_read_only_while_its_lease_is_alive(
    bench: WorkerBench, edge: ScriptedEdge, bob: str
) -> None:
    reader = PresenceReader(bench.redis)
    edge.register(bob)
    assert (reader.edges_of({bob}), reader.online({bob})) == ({bob: []}, frozenset())
    edge.renew()
    assert (reader.edges_of({bob}), reader.online({bob})) == ({bob: [edge.id]}, frozenset({bob}))


def test_a_reader_without_users_asks_nobody() -> None:
    assert PresenceReader(Redis(port=1)).online(()) == frozenset()


def test_a_look_up_tells_the_time_of_redis(bench: WorkerBench, bob: str) -> None:
    clock = RedisClock()
    PresenceReader(bench.redis, clock).online({bob})
    assert clock.now_ms() is not None


def test_users_who_come_and_go_are_registered_both_ways(bench: WorkerBench, edge: ScriptedEdge) -> None:
    alice, bob, carol = (str(user_id) for user_id, _ in bench.people("alice", "bob", "carol"))
    edge.renew()
    edge.register(alice, bob)
    edge.register(carol, gone=(alice,))
    assert edge.users == {bob, carol}
    assert [edges_of(bench, user_id) for user_id in (alice, bob, carol)] == [set(), {edge.id}, {edge.id}]


def test_what_is_registered_expires(bench: WorkerBench, edge: ScriptedEdge, bob: str) -> None:
    edge.register(bob)
    assert expires_in_time(bench, names.user_edges_key(bob))
    assert expires_in_time(bench, names.edge_users_key(edge.id))


def test_a_refresh_keeps_users_from_expiring(bench: WorkerBench, edge: ScriptedEdge, bob: str) -> None:
    edge.register(bob)
    bench.redis.expire(names.user_edges_key(bob), 1)
    edge.refresh(bob)
    assert expires_in_time(bench, names.user_edges_key(bob))


def test_a_refresh_does_not_bring_users_back(bench: WorkerBench, edge: ScriptedEdge, bob: str) -> None:
    edge.refresh(bob)
    assert edges_of(bench, bob) == set()


@pytest.mark.parametrize("comes", [True, False])
def test_a_user_who_comes_or_goes_is_taken_off_dead_edges(
    bench: WorkerBench, edge: ScriptedEdge, other: ScriptedEdge, bob: str, comes: bool
) -> None:
    edge.renew()
    edge.register(bob)
    other.register(bob)
    assert edges_of(bench, bob) == {edge.id, other.id}
    edge.register(*((bob,) if comes else ()), gone=() if comes else (bob,))
    assert edges_of(bench, bob) == ({edge.id} if comes else set())


def test_a_user_stays_on_other_edges_that_are_alive(
    bench: WorkerBench, edge: ScriptedEdge, other: ScriptedEdge, bob: str
) -> None:
    for one in (edge, other):
        one.renew()
        one.register(bob)
    assert edges_of(bench, bob) == {edge.id, other.id}
    edge.register(gone=(bob,))
    assert edges_of(bench, bob) == {other.id}


def test_an_ended_lease_is_found_until_its_users_are_removed(
    bench: WorkerBench, edge: ScriptedEdge, other: ScriptedEdge, bob: str
) -> None:
    edge.register(bob)
    other.renew()
    leases = EndedLeases(bench.redis)
    ended = leases.find()
    assert edge.id in ended
    assert other.id not in ended
    assert leases.users_of(edge.id, 10) == [bob]
    assert not leases.forget(edge.id)
    leases.remove_users(edge.id, [bob])
    assert (edge.users, edges_of(bench, bob)) == (set(), set())
    assert leases.forget(edge.id)
    assert edge.id not in leases.find()


def test_the_users_of_an_ended_lease_are_told_in_portions(bench: WorkerBench, edge: ScriptedEdge) -> None:
    users = {f"user-{number}" for number in range(700)}
    edge.register(*users)
    leases = EndedLeases(bench.redis)
    told: list[str] = []
    while portion := leases.users_of(edge.id, 300):
        assert len(portion) <= 300
        leases.remove_users(edge.id, portion)
        told += portion
    assert sorted(told) == sorted(users)


def test_an_edge_that_came_back_meanwhile_keeps_everything(
    bench: WorkerBench, edge: ScriptedEdge, bob: str
) -> None:
    edge.register(bob)
    edge.renew()
    leases = EndedLeases(bench.redis)
    leases.remove_users(edge.id, [bob])
    assert not leases.forget(edge.id)
    assert edge.renew()
    assert edge.users == {bob}
    assert edges_of(bench, bob) == {edge.id}
    assert bench.redis.exists(names.inbox_key(edge.id))


def test_an_edge_that_died_before_its_first_renewal_leaves_nothing_forever(
    bench: WorkerBench, edge: ScriptedEdge
) -> None:
    assert bench.redis.ttl(names.inbox_key(edge.id)) == -1
    EndedLeases(bench.redis).forget(edge.id)
    assert expires_in_time(bench, names.inbox_key(edge.id))
