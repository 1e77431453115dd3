"""The capacity page has the numbers that were measured, and what follows from them."""

from dataclasses import replace

import pytest

from tests.benchmark.capacity.limits import limits
from tests.benchmark.capacity.measuring import LOADS
from tests.benchmark.capacity.needs import ONLINE, Assumptions, Costs, needs
from tests.benchmark.capacity.page import PAGE, written
from tests.benchmark.capacity.units import KINDS, Capacity

COSTS = Costs(
    message_ms=dict.fromkeys(KINDS, 2.0),
    connect_ms=dict.fromkeys(KINDS, 1.0),
    idle_us=dict.fromkeys(KINDS, 4.0),
    edge_kb=20.0,
    redis_bytes=500.0,
    client_bytes=1_000.0,
    redis_network=3_000.0,
    wal=1_000.0,
    stored=400.0,
    entry_bytes=1_500.0,
)
GIVEN = Assumptions()


def test_the_page_shows_what_was_measured() -> None:
    page = PAGE.read_text()
    assert written(page, Capacity.load()) == page, "run `make capacity ARGS='--rounds 0'`"


def test_every_load_and_the_sockets_were_measured_in_each_round() -> None:
    measured = Capacity.load()
    rounds = len(measured.sockets())
    assert rounds
    assert {len(measured.messages(load)) for load in LOADS} == {rounds}


@pytest.mark.parametrize("online", ONLINE)
def test_there_are_enough_edges_for_the_sockets_without_the_spare_one(online: int) -> None:
    found = needs(COSTS, GIVEN, online)
    assert (found.edges - 2) * GIVEN.sockets_per_edge < found.sockets
    assert found.sockets <= (found.edges - 1) * GIVEN.sockets_per_edge


@pytest.mark.parametrize("online", ONLINE)
def test_costly_messages_need_more_edges_than_sockets_do(online: int) -> None:
    costly = replace(COSTS, message_ms={**COSTS.message_ms, "edge": 50.0})
    found = needs(costly, GIVEN, online)
    busy_cores = found.messages_s * 0.05 * GIVEN.sockets
    assert (found.edges - 1) * GIVEN.core >= busy_cores
    assert found.edges > needs(COSTS, GIVEN, online).edges


@pytest.mark.parametrize("online", ONLINE)
def test_no_worker_is_busier_than_it_may_be(online: int) -> None:
    found = needs(COSTS, GIVEN, online)
    busy_cores = (2 * found.messages_s + found.connects_s) / 1000 + 4 * found.sockets / 1e6
    assert (found.workers - 2) * GIVEN.core < busy_cores <= (found.workers - 1) * GIVEN.core


def test_a_part_is_full_at_its_limit() -> None:
    redis = next(limit for limit in limits(COSTS, GIVEN) if "one core" in limit.part)
    assert needs(COSTS, GIVEN, round(redis.online)).redis_cores == pytest.approx(GIVEN.core, rel=0.01)


def test_who_writes_twice_as_much_fills_the_disk_in_half_the_time() -> None:
    busy = replace(GIVEN, messages=2 * GIVEN.messages)
    once, twice = (needs(COSTS, given, max(ONLINE)).stored_tb for given in (GIVEN, busy))
    assert twice == pytest.approx(2 * once)
