"""Whether workers answer this edge. An edge that hears nothing from them asks."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

import structlog
import uuid_utils

from infra.wire.batch import Batch
from infra.wire.inbox import InboxEntry
from socket_edge.relay.lanes import Dispatch

log = structlog.get_logger(__name__)

_ASK_S: Final = 5.0
"""A worker is asked when none has answered for this long, in seconds."""
_SILENT_S: Final = 15.0
"""Workers count as silent when none has answered for this long, in seconds: longer than a batch may take."""


class WorkerState(StrEnum):
    """What this edge last heard of the workers."""

    ANSWERING = "answering"
    UNAVAILABLE = "unavailable"
    """They answer that they cannot reach Postgres."""
    SILENT = "silent"


class WorkerWatch:
    """Notes when workers answer. To ask, it sends a batch without events: a worker tries Postgres for it."""

    def __init__(
        self,
        edge_id: str,
        dispatch: Dispatch,
        can_hear: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`can_hear` returns once an answer can arrive."""
        self._edge_id = edge_id
        self._dispatch = dispatch
        self._can_hear = can_hear
        self._clock = clock
        self._started_at = clock()
        self._answered_at = -math.inf
        self._is_postponed = False
        self._logged = WorkerState.ANSWERING

    def note(self, entry: InboxEntry) -> None:
        """Take whatever workers send; the result of a batch counts."""
        if entry.batch_id is not None:
            self._answered_at = self._clock()
            self._is_postponed = entry.retry is not None

    @property
    def state(self) -> WorkerState:
        """Return what workers do as far as this edge knows; `silent` until the first answer."""
        if self._clock() - self._answered_at > _SILENT_S:
            return WorkerState.SILENT
        return WorkerState.UNAVAILABLE if self._is_postponed else WorkerState.ANSWERING

    @property
    def reason(self) -> str | None:
        """Return why messages cannot be sent, for operators; None if they can."""
        match self.state:
            case WorkerState.ANSWERING:
                return None
            case WorkerState.UNAVAILABLE:
                return "the workers cannot reach Postgres"
            case WorkerState.SILENT if self._answered_at == -math.inf:
                return "no worker has answered since this edge started"
            case WorkerState.SILENT:
                return f"no worker has answered for {self._clock() - self._answered_at:.0f} s"

    async def run(self) -> None:
        """Ask when nothing is heard, and log when the state changes, until cancelled."""
        await self._can_hear()
        asked_at = -math.inf
        while True:
            now = self._clock()
            if now - max(self._answered_at, asked_at) >= _ASK_S:
                asked_at = now
                # Cautious: without workers, the queue must not fill up with questions.
                await self._dispatch(Batch(uuid_utils.uuid7().hex, self._edge_id, []), True)
            self._log_change()
            await asyncio.sleep(_ASK_S - (self._clock() - max(self._answered_at, asked_at)))

    def _log_change(self) -> None:
        state = self.state
        if state is WorkerState.SILENT and self._clock() - self._started_at <= _SILENT_S:
            return  # They may be starting, too.
        if state is not self._logged:
            self._logged = state
            if state is WorkerState.ANSWERING:
                log.info("workers_answer_again")
            else:
                log.warning("workers_do_not_answer", state=state, reason=self.reason)
