"""Lanes: micro-batches without a timer.

A lane has at most one batch in flight; requests that arrive meanwhile leave as the next one. So an idle
lane sends at once, a busy one batches by itself, and the events of one connection stay in order however
many workers run. A batch without a result is sent again: handlers are idempotent.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
import uuid_utils

from infra import tracing
from infra.wire.batch import Batch, Event
from infra.wire.errors import ErrorCode
from infra.wire.inbox import Answer, InboxEntry
from infra.wire.registry import COMMANDS, CONFIRM_DELIVERY
from socket_edge import metrics
from socket_edge.relay.pending import PendingRequest, PendingRequests, Settle
from socket_edge.tasks import Tasks

log = structlog.get_logger(__name__)

_EXPIRY_S = 0.25
"""How often deadlines are checked, in seconds."""

Dispatch = Callable[[Batch, bool], Awaitable[bool]]
"""Sends a batch; returns whether it is on the queue. The flag asks to check first whether workers keep up."""


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """Bounds of a lane's queue and of a batch, and the pace of re-dispatch."""

    max_events: int
    max_bytes: int
    max_batch_events: int
    max_batch_bytes: int
    redispatch_s: float
    """How long to wait before a batch is sent again."""
    redispatch_max_s: float
    """How long to wait at most if workers are slow."""


class Lane:
    """One queue of requests with at most one batch in flight."""

    def __init__(
        self,
        edge_id: str,
        dispatch: Dispatch,
        requests: PendingRequests,
        limits: LaneLimits,
        tasks: Tasks,
        *,
        eager: bool = False,
    ) -> None:
        """`eager`: while idle, send a request in the call that brings it, before others may join it."""
        self._edge_id = edge_id
        self._dispatch = dispatch
        self._requests = requests
        self._limits = limits
        self._tasks = tasks
        self._eager = eager
        self._waiting: deque[PendingRequest] = deque()
        self._waiting_bytes = 0
        self._is_sending = False
        self._in_flight: str | None = None
        self._carried: list[PendingRequest] = []
        """The requests of the batch in flight."""
        self._result: asyncio.Future[InboxEntry] | None = None
        self._trouble: ErrorCode | None = None
        self._patience_s = limits.redispatch_s
        """How long to wait for the result of a batch that is on the queue: twice the time of the last one,
        within bounds. To send batches again sooner would give slow workers more to do."""

    @property
    def has_room_to_spare(self) -> bool:
        """Whether the lane is far from full."""
        return len(self._waiting) * 10 < self._limits.max_events

    def unanswered(self) -> list[PendingRequest]:
        """Return the requests without an answer: those in flight, and those that wait for their turn."""
        return [request for request in (*self._carried, *self._waiting) if request in self._requests]

    def submit(self, request: PendingRequest) -> bool:
        """Queue a request; return False if the lane is full."""
        if len(self._waiting) >= self._limits.max_events or self._waiting_bytes >= self._limits.max_bytes:
            return False
        request.trouble = lambda: self._trouble or ErrorCode.TIMEOUT
        self._waiting.append(request)
        self._waiting_bytes += len(request.payload)
        if not self._is_sending:
            self._is_sending = True
            self._tasks.start(self._send(), eager=self._eager)
        return True

    def finish(self, entry: InboxEntry) -> None:
        """Take the result of the batch in flight. Results of earlier batches are ignored."""
        if entry.batch_id == self._in_flight and self._result is not None and not self._result.done():
            self._result.set_result(entry)

    async def _send(self) -> None:
        """Send batch after batch, until nothing waits. If one fails, the next request takes up the rest."""
        try:
            while batch := self._take():
                await self._carry(batch)
        finally:
            self._is_sending = False

    def _take(self) -> list[PendingRequest]:
        batch: list[PendingRequest] = []
        size = 0
        while self._waiting and len(batch) < self._limits.max_batch_events:
            size += len(self._waiting[0].payload)
            if batch and size > self._limits.max_batch_bytes:
                break
            request = self._waiting.popleft()
            self._waiting_bytes -= len(request.payload)
            if request in self._requests:
                batch.append(request)
        return batch

    async def _carry(self, requests: list[PendingRequest]) -> None:
        """Send a batch, and again what has no answer, until its result arrives or its deadline has passed."""
        batch_id = uuid_utils.uuid7().hex
        spans = {r.id: tracing.begin_span("batch", r.trace) for r in requests if r.trace}
        metrics.BATCH_EVENTS.observe(len(requests))
        self._carried = requests
        self._in_flight = batch_id
        first_at, deadline = time.monotonic(), requests[-1].deadline
        tries, refused = 0, False
        while (began := time.monotonic()) < deadline:
            unanswered = [request for request in requests if request in self._requests]
            if not unanswered:
                self._trouble = None
                break
            if tries:
                metrics.REDISPATCHES.inc()
            self._result = asyncio.get_running_loop().create_future()
            sent = await self._dispatch(self._batch(batch_id, unanswered, spans), self._trouble is not None)
            tries += 1
            patience_s = self._patience_s if sent else self._limits.redispatch_s
            entry = await _until(min(deadline, began + patience_s), self._result)
            if entry is not None and entry.retry is None:
                self._trouble = None
                break
            if entry is not None:
                self._trouble = entry.retry
            elif not sent:
                self._trouble = ErrorCode.UNAVAILABLE
            elif self._trouble is None:
                # Otherwise silence says nothing new: what was known to be down may still be.
                self._trouble = ErrorCode.TIMEOUT
            refused |= entry is not None or not sent
            await asyncio.sleep(min(deadline, began + self._limits.redispatch_s) - time.monotonic())
        else:
            metrics.ABANDONED.inc()
            log.warning("batch_abandoned", events=len(requests), tries=tries, code=self._trouble)
        self._patience_s = self._limits.redispatch_s
        if not refused:
            slow_s = min(2 * (time.monotonic() - first_at), self._limits.redispatch_max_s)
            self._patience_s = max(self._patience_s, slow_s)
        for span in spans.values():
            tracing.end(span, events=len(requests), tries=tries)
        self._in_flight, self._result, self._carried = None, None, []

    def _batch(self, batch_id: str, requests: list[PendingRequest], spans: Mapping[str, Any]) -> Batch:
        return Batch(
            id=batch_id,
            edge_id=self._edge_id,
            events=[
                Event(
                    r.id,
                    r.name,
                    r.user_id,
                    r.socket_id,
                    msgspec.Raw(r.payload),
                    r.expires_ms,
                    tracing.traceparent(spans[r.id]) if r.trace else None,
                )
                for r in requests
            ],
        )


async def _until(moment: float, result: asyncio.Future[InboxEntry]) -> InboxEntry | None:
    """Return the result, or None if it is not there by that monotonic time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(moment - time.monotonic()):
            return await result
    return None


def _ignore(_: Answer) -> None:
    """Take an answer that nobody waits for."""


class Lanes:
    """The lanes of an edge: several for client events, and a separate one for delivery receipts."""

    def __init__(self, lanes: list[Lane], receipts: Lane, requests: PendingRequests) -> None:
        self._lanes = lanes
        self._receipts = receipts
        self._requests = requests
        self._next = 0

    def __len__(self) -> int:
        return len(self._lanes)

    def choose(self) -> int:
        """Return the lane of a new connection: the next in turn."""
        self._next = (self._next + 1) % len(self._lanes)
        return self._next

    def relay(
        self,
        lane: int,
        name: str,
        user_id: str,
        payload: bytes,
        settle: Settle = _ignore,
        *,
        socket_id: str = "",
        expires: bool = True,
        trace: str | None = None,
    ) -> None:
        """Send an event to a worker through a lane. `settle` is called exactly once, maybe at once.

        A full lane answers `busy`; long before it is full, it takes no ephemeral events. If the event
        `expires`, workers drop it after its deadline.
        """
        request = self._requests.open(name, user_id, socket_id, payload, settle, expires=expires, trace=trace)
        chosen = self._lanes[lane]
        is_dropped = COMMANDS[name].is_ephemeral and not chosen.has_room_to_spare
        if is_dropped or not chosen.submit(request):
            self._requests.fail(request, ErrorCode.BUSY)

    def relay_receipt(self, user_id: str, payload: bytes, settle: Settle) -> None:
        """Send a delivery receipt in its own lane, where it holds up no send."""
        request = self._requests.open(CONFIRM_DELIVERY, user_id, "", payload, settle)
        if not self._receipts.submit(request):
            self._requests.fail(request, ErrorCode.BUSY)

    def finish(self, entry: InboxEntry) -> None:
        """Give the lanes the result of a batch."""
        for lane in (*self._lanes, self._receipts):
            lane.finish(entry)

    async def expire_requests(self) -> None:
        """Answer the requests whose deadline is over, until cancelled."""
        while True:
            await asyncio.sleep(_EXPIRY_S)
            self._requests.expire()
