"""What cannot be done for some is done for all others."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import RedisError

from functions.data_errors import in_halves


@given(st.lists(st.integers(), unique=True, max_size=40), st.sets(st.integers(0, 39)))
def test_only_what_cannot_be_done_is_skipped(items: list[int], places: set[int]) -> None:
    bad = {items[place] for place in places if place < len(items)}
    skipped = []
    calls = 0

    def work(some: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if not bad.isdisjoint(some):
            raise ValueError(some)
        return list(some)

    done = in_halves(work, items, lambda item, _: skipped.append(item))
    assert [item for some in done for item in some] == [item for item in items if item not in bad]
    assert skipped == [item for item in items if item in bad]
    assert calls <= 1 + 2 * len(bad) * len(items).bit_length()


def test_a_service_that_is_down_is_nobodys_fault() -> None:
    def work(some: Sequence[int]) -> None:
        raise RedisError

    with pytest.raises(RedisError):
        in_halves(work, [1, 2, 3], lambda item, _: pytest.fail(f"{item} was skipped"))
