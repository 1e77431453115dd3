"""The capacity page has the numbers that were measured, and what follows from them."""

from dataclasses import replace

import pytest

from tests.benchmark.capacity.limits import limits
from tests.benchmark.capacity.measuring import LOADS, LONE
from tests.benchmark.capacity.needs import ONLINE, Assumptions, Costs, needs
from tests.benchmark.capacity.page import PAGE, written
from tests.benchmark.capacity.units import Capacity

MEASURED = Capacity.load()
COSTS = Costs.of(MEASURED, LONE)
GIVEN = Assumptions()


def test_the_page_shows_what_was_measured() -> None:
    page = PAGE.read_text()
    assert written(page, MEASURED) == page, "run `make capacity ARGS='--rounds 0'`"


def test_every_load_and_the_sockets_were_measured_in_each_round() -> None:
    rounds = len(MEASURED.sockets())
    assert rounds
    assert {len(MEASURED.messages(load)) for load in LOADS} == {rounds}


@pytest.mark.parametrize("online", ONLINE)
def test_the_parts_of_the_example_are_big_enough(online: int) -> None:
    found = needs(COSTS, GIVEN, online)
    working = found.edges - 1
    assert working * GIVEN.sockets_per_edge >= found.sockets
    busy_ms = found.messages_s * COSTS.message_ms["worker"] + found.connects_s * COSTS.connect_ms["worker"]
    assert (found.workers - 1) * GIVEN.core >= busy_ms / 1000


def test_a_part_is_full_at_its_limit() -> None:
    redis = next(limit for limit in limits(COSTS, GIVEN) if "one core" in limit.part)
    assert needs(COSTS, GIVEN, round(redis.online)).redis_cores == pytest.approx(GIVEN.core, rel=0.01)


def test_who_writes_twice_as_much_fills_the_disk_in_half_the_time() -> None:
    busy = replace(GIVEN, messages=2 * GIVEN.messages)
    once, twice = (needs(COSTS, given, max(ONLINE)).stored_tb for given in (GIVEN, busy))
    assert twice == pytest.approx(2 * once)
