"""Requests that wait for an answer from a worker, each with a deadline."""

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
"""Takes the answer to a request."""


@dataclass(slots=True, eq=False)
class PendingRequest:
    """An event for a worker, and what to do with its answer, which comes exactly once."""

    name: str
    user_id: str
    socket_id: str
    """Socket.IO id of the socket that asks; empty if the edge itself asks."""
    payload: bytes
    """JSON."""
    settle: Settle
    id: str
    received_at: float
    """Monotonic time in seconds."""
    deadline: float
    """Monotonic time in seconds."""
    expires_ms: int
    """The deadline in Redis time, in ms since the epoch; 0 if it never expires or Redis time is unknown."""
    trace: str | None = None
    """The `traceparent` of a traced event."""
    trouble: Callable[[], ErrorCode] = lambda: ErrorCode.TIMEOUT
    """Returns why there is no answer yet, as far as the lane knows."""


class PendingRequests:
    """All requests of this edge that wait for an answer."""

    def __init__(self, deadline_s: float, clock: RedisClock | None = None) -> None:
        self._deadline_s = deadline_s
        self._clock = clock or RedisClock()
        self._open: dict[str, PendingRequest] = {}
        self._idle = asyncio.Event()

    def __contains__(self, request: PendingRequest) -> bool:
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
        trace: str | None = None,
    ) -> PendingRequest:
        """Make a request. `settle` is called once: with the answer, or with a failure at the deadline.

        If it `expires`, workers drop it after its deadline; otherwise they handle it even then.
        """
        now, now_ms = time.monotonic(), self._clock.now_ms() if expires else None
        request = PendingRequest(
            name,
            user_id,
            socket_id,
            payload,
            settle,
            id=str(uuid_utils.uuid7()),
            received_at=now,
            deadline=now + self._deadline_s,
            expires_ms=0 if now_ms is None else now_ms + int(self._deadline_s * 1000),
            trace=trace,
        )
        self._open[request.id] = request
        return request

    def answer(self, answer: Answer) -> None:
        """Settle the request with an answer. A second answer is ignored."""
        request = self._open.pop(answer.id, None)
        if request is not None:
            request.settle(answer)
        if not self._open:
            self._idle.set()

    async def wait_settled(self) -> None:
        """Return once no request waits for an answer."""
        if self._open:
            self._idle.clear()
            await self._idle.wait()

    def fail(self, request: PendingRequest, code: ErrorCode) -> None:
        """Settle a request without a worker's answer."""
        self.answer(Answer(request.id, failure=Failure.of(code, client_id=client_id_of(request.payload))))

    def expire(self) -> None:
        """Fail the requests that are past their deadline. They are kept in the order of their deadlines."""
        now = time.monotonic()
        expired = list(takewhile(lambda request: request.deadline <= now, self._open.values()))
        for request in expired:
            self.fail(request, request.trouble())


def asked(relay: Callable[[Settle], None]) -> asyncio.Future[Answer]:
    """Relay a request with what settles it; return what its answer will be."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def settle(answer: Answer) -> None:
        if not future.done():
            future.set_result(answer)

    relay(settle)
    return future


async def answered(relay: Callable[[Settle], None]) -> Answer:
    """Relay a request with what settles it, and wait for its answer."""
    return await asked(relay)
