import random
from itertools import pairwise

import pytest

from socket_edge.seqs import Seqs


def of(*numbers: int) -> Seqs:
    seqs = Seqs()
    for number in numbers:
        seqs.add(number)
    return seqs


@pytest.mark.parametrize(
    ("numbers", "spans"),
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
def test_neighbours_join_into_one_span(numbers: tuple[int, ...], spans: list[tuple[int, int]]) -> None:
    assert of(*numbers).spans_from(1) == spans


def test_adding_tells_whether_it_was_new() -> None:
    seqs = Seqs()
    assert [seqs.add(number) for number in (1, 2, 1, 4, 2, 3, 3)] == [
        True,
        True,
        False,
        True,
        False,
        True,
        False,
    ]


def test_only_what_was_added_is_in() -> None:
    seqs = of(2, 3, 7)
    assert [number for number in range(10) if number in seqs] == [2, 3, 7]


def test_numbers_in_order_cost_one_span() -> None:
    assert len(of(*range(1, 10_001)).spans_from(1)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_it_behaves_like_a_set(seed: int) -> None:
    numbers = random.Random(seed)
    seqs, model = Seqs(), set[int]()
    for _ in range(500):
        number = numbers.randint(1, 120)
        assert seqs.add(number) == (number not in model)
        model.add(number)
        probe = numbers.randint(1, 120)
        assert (probe in seqs) == (probe in model)
    spans = seqs.spans_from(1)
    assert {number for first, last in spans for number in range(first, last + 1)} == model
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(spans))


@pytest.mark.parametrize(
    ("members", "seq", "spans"),
    [
        ([], 1, []),
        ([1, 2, 3], 4, []),
        ([1, 2, 3], 2, [(2, 3)]),
        ([2, 3, 6], 1, [(2, 3), (6, 6)]),
        ([1, 2, 5, 6, 9], 6, [(6, 6), (9, 9)]),
        ([1, 2, 5, 6, 9], 3, [(5, 6), (9, 9)]),
    ],
)
def test_spans_are_cut_at_the_seq_asked_for(
    members: list[int], seq: int, spans: list[tuple[int, int]]
) -> None:
    assert of(*members).spans_from(seq) == spans


@pytest.mark.parametrize("seed", range(20))
def test_without_is_the_difference_of_sets(seed: int) -> None:
    numbers = random.Random(seed)
    some, others = ({numbers.randint(1, 60) for _ in range(30)} for _ in range(2))
    up_to = numbers.randint(1, 60)
    left = list(of(*some).without(of(*others), up_to))
    assert left == sorted(number for number in some - others if number <= up_to)
