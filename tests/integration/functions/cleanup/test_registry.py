"""What edges that are gone have left in Redis is removed, and nothing of those that live."""

import uuid
from typing import Any

import pytest

from functions import cleanup_registry
from infra.wire import names
from tests.harness.relay import RelayBench
from tests.integration.functions.cleanup.state import (
    RETENTION,
    Clean,
    fill,
    let_idle,
    open_edges,
    open_orphan,
)

EVERYTHING = ["lease", "inbox", "users", "presence"]


def traces(bench: RelayBench, edge_id: str, user_id: uuid.UUID) -> list[str]:
    """Return what Redis knows of an edge and of one user on it."""
    redis = bench.redis
    found = {
        "lease": redis.zscore(names.LEASES_KEY, edge_id) is not None,
        "inbox": redis.exists(names.inbox_key(edge_id)),
        "users": redis.exists(names.edge_users_key(edge_id)),
        "presence": redis.sismember(names.user_edges_key(str(user_id)), edge_id),
    }
    return [kind for kind, is_there in found.items() if is_there]


def test_there_is_nothing_to_clean_up_among_the_living(bench: RelayBench, clean: Clean) -> None:
    assert clean() == {}


def test_an_edge_whose_lease_is_long_over_is_forgotten(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    (gone,) = open_edges(bench, "gone")
    bench.connect(bob, gone)
    assert clean() == {"edges": 1, "streams": 1, "presence": 1}
    assert traces(bench, gone, bob) == []


def test_an_edge_whose_lease_is_hardly_over_keeps_everything(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    (late,) = open_edges(bench, "late", lease_ms=-60_000)
    bench.connect(bob, late)
    let_idle(bench, names.inbox_key(late), names.edge_users_key(late))
    assert clean() == {}
    assert traces(bench, late, bob) == EVERYTHING
    assert clean(cleanup_edge_s=59) == {"edges": 1, "streams": 1, "presence": 1}


def test_an_edge_with_a_lease_keeps_everything_however_idle(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    bench.connect(bob)
    let_idle(bench, names.inbox_key(bench.edge_id), names.edge_users_key(bench.edge_id))
    let_idle(bench, names.user_edges_key(str(bob)))
    assert clean(cleanup_edge_s=0) == {}
    assert traces(bench, bench.edge_id, bob) == EVERYTHING


def test_a_user_of_a_gone_edge_stays_on_the_others(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    (gone,) = open_edges(bench, "gone")
    bench.connect(bob, gone)
    bench.connect(bob)
    assert clean()["presence"] == 1
    assert bench.rules.presence.edges_of({str(bob)}) == {str(bob): [bench.edge_id]}


def test_an_edge_without_a_lease_is_forgotten_once_it_is_idle(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    orphan = open_orphan(bench, bob)
    let_idle(bench, names.inbox_key(orphan))
    assert clean() == {}
    assert traces(bench, orphan, bob) == ["inbox", "users", "presence"]
    let_idle(bench, names.edge_users_key(orphan))
    assert clean() == {"edges": 1, "streams": 1, "presence": 1}
    assert traces(bench, orphan, bob) == []


def test_an_edge_of_which_only_a_users_entry_is_left_is_forgotten(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    bench.redis.sadd(names.user_edges_key(str(bob)), "edge-nobody-knows")
    assert clean() == {"presence": 1}
    assert clean() == {}


def test_without_idle_times_edges_without_a_lease_are_kept(bench: RelayBench, clean: Clean) -> None:
    bob, _ = bench.person("bob")
    (gone,) = open_edges(bench, "gone")
    bench.connect(bob, gone)
    bench.redis.config_set("maxmemory-policy", "allkeys-lfu")
    try:
        orphan = open_orphan(bench, bob)
        assert clean(cleanup_edge_s=0) == {"edges": 1, "streams": 1, "presence": 1}
    finally:
        bench.redis.config_set("maxmemory-policy", "noeviction")
    assert traces(bench, orphan, bob) == ["inbox", "users", "presence"]
    assert traces(bench, gone, bob) == []


@pytest.mark.parametrize("step", ["_find_edges", "_find_presence"])
@pytest.mark.parametrize("has_lease", [True, False])
def test_an_edge_that_comes_back_between_look_and_removal_keeps_what_it_registers(
    bench: RelayBench, clean: Clean, monkeypatch: pytest.MonkeyPatch, step: str, has_lease: bool
) -> None:
    bob, _ = bench.person("bob")
    if has_lease:
        (edge_id,) = open_edges(bench, "sleepy")
        bench.connect(bob, edge_id)
    else:
        edge_id = open_orphan(bench, bob)
        let_idle(bench, names.inbox_key(edge_id), names.edge_users_key(edge_id))
    look: Any = getattr(cleanup_registry._Cleanup, step)
    looks = 0

    def look_and_wake(*args: Any) -> Any:
        nonlocal looks
        found = list(look(*args))
        if edge_id in str(found):
            looks += 1
            bench.redis.delete(names.inbox_key(edge_id))
            bench.open_edge(edge_id)
            bench.connect(bob, edge_id)
        return found

    monkeypatch.setattr(cleanup_registry._Cleanup, step, look_and_wake)
    clean()
    assert looks == 1
    assert traces(bench, edge_id, bob) == EVERYTHING


def test_an_edge_that_starts_keeps_what_it_registers_before_its_first_lease(
    bench: RelayBench, clean: Clean
) -> None:
    bob, _ = bench.person("bob")
    bench.redis.xadd(names.inbox_key("edge-new"), {"e": ""})
    bench.connect(bob, "edge-new")
    let_idle(bench, names.user_edges_key(str(bob)))
    assert clean() == {}
    assert traces(bench, "edge-new", bob) == ["inbox", "users", "presence"]


def test_a_run_that_was_killed_in_redis_is_made_up_for_by_the_next(
    bench: RelayBench, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fill(bench)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cleanup_registry._Cleanup, "forget_presence", die)
        with pytest.raises(KeyboardInterrupt):
            clean(**RETENTION)
    assert clean(**RETENTION) == {
        kind: count for kind, count in expected.items() if kind not in ("edges", "streams")
    }
