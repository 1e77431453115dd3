import random
from itertools import pairwise

import pytest

from socket_edge.interval_set import IntervalSet


def of(*numbers: int) -> IntervalSet:
    members = IntervalSet()
    for number in numbers:
        members.add(number)
    return members


@pytest.mark.parametrize(
    ("numbers", "intervals"),
    [
        ((), []),
        ((5,), [(5, 5)]),
        ((1, 2, 3), [(1, 3)]),
        ((3, 2, 1), [(1, 3)]),
        ((1, 3), [(1, 1), (3, 3)]),
        ((1, 3, 2), [(1, 3)]),
        ((5, 1, 3, 4), [(1, 1), (3, 5)]),
        ((2, 2, 2), [(2, 2)]),
    ],
)
def test_neighbours_join_into_one_interval(
    numbers: tuple[int, ...], intervals: list[tuple[int, int]]
) -> None:
    assert of(*numbers).intervals_from(1) == intervals


def test_add_returns_whether_the_number_is_new() -> None:
    members = IntervalSet()
    assert [members.add(number) for number in (1, 2, 1, 4, 2, 3, 3)] == [
        True,
        True,
        False,
        True,
        False,
        True,
        False,
    ]


def test_only_added_numbers_are_members() -> None:
    members = of(2, 3, 7)
    assert [number for number in range(10) if number in members] == [2, 3, 7]


def test_numbers_in_order_cost_one_interval() -> None:
    assert len(of(*range(1, 10_001)).intervals_from(1)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_it_behaves_like_a_set(seed: int) -> None:
    numbers = random.Random(seed)
    members, model = IntervalSet(), set[int]()
    for _ in range(500):
        number = numbers.randint(1, 120)
        assert members.add(number) == (number not in model)
        model.add(number)
        probe = numbers.randint(1, 120)
        assert (probe in members) == (probe in model)
    intervals = members.intervals_from(1)
    assert {number for first, last in intervals for number in range(first, last + 1)} == model
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(intervals))


@pytest.mark.parametrize(
    ("members", "seq", "intervals"),
    [
        ([], 1, []),
        ([1, 2, 3], 4, []),
        ([1, 2, 3], 2, [(2, 3)]),
        ([2, 3, 6], 1, [(2, 3), (6, 6)]),
        ([1, 2, 5, 6, 9], 6, [(6, 6), (9, 9)]),
        ([1, 2, 5, 6, 9], 3, [(5, 6), (9, 9)]),
    ],
)
def test_intervals_are_cut_at_the_seq_asked_for(
    members: list[int], seq: int, intervals: list[tuple[int, int]]
) -> None:
    assert of(*members).intervals_from(seq) == intervals


@pytest.mark.parametrize("seed", range(20))
def test_without_returns_the_difference_of_sets(seed: int) -> None:
    numbers = random.Random(seed)
    some, others = ({numbers.randint(1, 60) for _ in range(30)} for _ in range(2))
    up_to = numbers.randint(1, 60)
    left = list(of(*some).without(of(*others), up_to))
    assert left == sorted(number for number in some - others if number <= up_to)
