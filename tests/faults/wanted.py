"""What clients try until it is done: whether it was, whether it may have been, and what that leaves."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from infra.wire.errors import ErrorCode

T = TypeVar("T")


@dataclass(slots=True)
class Try:
    """One request on one connection. Times are monotonic seconds."""

    connection: int
    sent_at: float
    ended_at: float | None = None
    """When the answer came or the connection ended; None if neither has."""
    code: str | None = None
    """`ok`, the code of the failure, or `cut` if the connection ended first."""

    @property
    def is_final(self) -> bool:
        """Whether a correct client stops retrying."""
        if self.code in (None, "cut"):
            return False
        return self.code == "ok" or not ErrorCode(self.code).retryable


class Wanted:
    """Something that a client wants done once, however often it tries."""

    __slots__ = ()
    tries: list[Try]

    @property
    def code(self) -> str | None:
        """Return the code of the last try, if there is one."""
        return self.tries[-1].code if self.tries else None

    @property
    def is_acked(self) -> bool:
        """Whether the client was told that it is done."""
        return self.code == "ok"

    @property
    def is_refused(self) -> bool:
        """Whether the client has stopped trying without an ack."""
        return bool(self.tries) and self.tries[-1].is_final and not self.is_acked

    @property
    def may_be_done(self) -> bool:
        """Whether a try was acked, or has left the client in doubt."""
        return any(one.code == "ok" or not one.is_final for one in self.tries)

    @property
    def began_at(self) -> float:
        """When the client tried first; infinity if it never has."""
        return self.tries[0].sent_at if self.tries else math.inf

    @property
    def ended_at(self) -> float:
        """When the client stopped trying; infinity if it never has."""
        last = self.tries[-1] if self.tries else None
        return last.ended_at if last and last.is_final and last.ended_at is not None else math.inf


def possible(before: T, wanted: Iterable[tuple[Wanted, T]]) -> set[T]:
    """Return what something may be now: what the last acked one has made of it, or one after that."""
    states = {before}
    for one, state in wanted:
        if one.is_acked:
            states = {state}
        elif one.may_be_done:
            states.add(state)
    return states
