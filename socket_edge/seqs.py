"""A set of seqs that costs next to nothing while they come in order."""

from bisect import bisect_right
from collections.abc import Iterator


class Seqs:
    """A set of positive integers, kept as ascending spans `[first, last]`."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: list[list[int]] = []

    def __contains__(self, seq: int) -> bool:
        index = bisect_right(self._spans, seq, key=lambda span: span[0]) - 1
        return index >= 0 and seq <= self._spans[index][1]

    def spans_from(self, seq: int) -> list[tuple[int, int]]:
        """Return the spans without what is lower than `seq`."""
        start = max(0, bisect_right(self._spans, seq, key=lambda span: span[0]) - 1)
        return [(max(first, seq), last) for first, last in self._spans[start:] if last >= seq]

    def without(self, other: "Seqs", up_to: int) -> Iterator[int]:
        """Yield the members up to `up_to` that `other` lacks, ascending."""
        for first, last in self._spans:
            start = first
            for other_first, other_last in other.spans_from(first):
                if other_first > last:
                    break
                yield from range(start, min(other_first - 1, up_to) + 1)
                start = other_last + 1
            yield from range(start, min(last, up_to) + 1)

    def add(self, seq: int) -> bool:
        """Add `seq`; return False if it was there."""
        spans = self._spans
        after = bisect_right(spans, seq, key=lambda span: span[0])
        before = spans[after - 1] if after else None
        if before and seq <= before[1]:
            return False
        joins_before = before is not None and before[1] == seq - 1
        joins_after = after < len(spans) and spans[after][0] == seq + 1
        if before and joins_before and joins_after:
            before[1] = spans.pop(after)[1]
        elif before and joins_before:
            before[1] = seq
        elif joins_after:
            spans[after][0] = seq
        else:
            spans.insert(after, [seq, seq])
        return True
