"""A set of integers, kept as intervals: cheap as long as they arrive in order."""

from bisect import bisect_right
from collections.abc import Iterator


class IntervalSet:
    """A set of positive integers, kept as ascending intervals `[first, last]`."""

    __slots__ = ("_intervals",)

    def __init__(self) -> None:
        self._intervals: list[list[int]] = []

    def __contains__(self, seq: int) -> bool:
        index = bisect_right(self._intervals, seq, key=_first) - 1
        return index >= 0 and seq <= self._intervals[index][1]

    def intervals_from(self, seq: int) -> list[tuple[int, int]]:
        """Return the intervals of the members from `seq` on."""
        start = max(0, bisect_right(self._intervals, seq, key=_first) - 1)
        return [(max(first, seq), last) for first, last in self._intervals[start:] if last >= seq]

    def without(self, other: "IntervalSet", up_to: int) -> Iterator[int]:
        """Yield in ascending order the members missing from `other`, up to `up_to`."""
        for first, last in self._intervals:
            start = first
            for other_first, other_last in other.intervals_from(first):
                if other_first > last:
                    break
                yield from range(start, min(other_first - 1, up_to) + 1)
                start = other_last + 1
            yield from range(start, min(last, up_to) + 1)

    def add(self, seq: int) -> bool:
        """Add `seq`; return False if it was a member already."""
        intervals = self._intervals
        after = bisect_right(intervals, seq, key=_first)
        before = intervals[after - 1] if after else None
        if before and seq <= before[1]:
            return False
        joins_before = before is not None and before[1] == seq - 1
        joins_after = after < len(intervals) and intervals[after][0] == seq + 1
        if before and joins_before and joins_after:
            before[1] = intervals.pop(after)[1]
        elif before and joins_before:
            before[1] = seq
        elif joins_after:
            intervals[after][0] = seq
        else:
            intervals.insert(after, [seq, seq])
        return True


def _first(interval: list[int]) -> int:
    return interval[0]
