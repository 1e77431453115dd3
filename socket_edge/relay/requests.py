"""Requests that are on their way to a worker and back, each with a deadline."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

import uuid_utils

from infra.wire.clock import RedisClock
from infra.wire.commands import client_id_of
from infra.wire.errors import ErrorCode, Failure
from infra.wire.inbox import Answer

Settle = Callable[[Answer], None]
"""Takes the answer of a request."""


@dataclass(slots=True, eq=False)
class Request:
    """An event for the workers and what to do with its answer, which comes exactly once."""

    name: str
    user_id: str
    socket_id: str
    payload: bytes
    """JSON."""
    settle: Settle
    id: str
    deadline: float
    """Monotonic time in seconds."""
    expires_ms: int
    """The same in the time of Redis; 0 if that is not known yet."""
    trouble: Callable[[], ErrorCode] = lambda: ErrorCode.TIMEOUT
    """Why there is no answer yet, as far as the lane knows."""


class OpenRequests:
    """All requests of this edge that wait for an answer."""

    def __init__(self, deadline_s: float, clock: RedisClock | None = None) -> None:
        self._deadline_s = deadline_s
        self._clock = clock or RedisClock()
        self._open: dict[str, Request] = {}
        self._idle = asyncio.Event()

    def __contains__(self, request: Request) -> bool:
        return request.id in self._open

    def __len__(self) -> int:
        return len(self._open)

    def open(
        self,
        name: str,
        user_id: str,
        socket_id: str,
        payload: bytes,
        settle: Settle,
        *,
        expires: bool = True,
    ) -> Request:
        """Make a request. `settle` is called once: with the answer, or with a failure by the deadline.

        One that does not expire is still worth handling when the answer comes too late.
        """
        now_ms = self._clock.now_ms() if expires else None
        request = Request(
            name,
            user_id,
            socket_id,
            payload,
            settle,
            id=str(uuid_utils.uuid7()),
            deadline=time.monotonic() + self._deadline_s,
            expires_ms=0 if now_ms is None else now_ms + int(self._deadline_s * 1000),
        )
        self._open[request.id] = request
        return request

    def answer(self, answer: Answer) -> None:
        """Settle the request that `answer` belongs to; a second answer changes nothing."""
        request = self._open.pop(answer.id, None)
        if request is not None:
            request.settle(answer)
        if not self._open:
            self._idle.set()

    async def wait_settled(self) -> None:
        """Return when no request waits for an answer any more."""
        if self._open:
            self._idle.clear()
            await self._idle.wait()

    def fail(self, request: Request, code: ErrorCode) -> None:
        """Settle a request without an answer from a worker."""
        self.answer(Answer(request.id, failure=Failure.of(code, client_id=client_id_of(request.payload))))

    def expire(self) -> None:
        """Fail what is past its deadline. Requests are kept in the order of their deadlines."""
        now = time.monotonic()
        expired = list(takewhile(lambda request: request.deadline <= now, self._open.values()))
        for request in expired:
            self.fail(request, request.trouble())
