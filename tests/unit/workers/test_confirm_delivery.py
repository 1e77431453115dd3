"""Acked spans are merged before they are processed."""

import pytest

from workers.handlers.confirm_delivery import merge
from workers.holes import Span


@pytest.mark.parametrize(
    ("spans", "merged"),
    [
        ([], []),
        ([(3, 3)], [(3, 3)]),
        ([(3, 3), (1, 1), (2, 2)], [(1, 3)]),
        ([(1, 2), (4, 5)], [(1, 2), (4, 5)]),
        ([(1, 9), (2, 3)], [(1, 9)]),
        ([(1, 5), (3, 8), (8, 8)], [(1, 8)]),
    ],
)
def test_spans_that_touch_or_overlap_become_one(spans: list[Span], merged: list[Span]) -> None:
    assert merge(spans) == merged
