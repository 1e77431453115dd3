"""Measures what piles up in an edge, and how late its event loop is."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from infra.pulse import PULSE
from socket_edge import metrics
from socket_edge.chat.presence import EdgePresence
from socket_edge.chat.session import ConnectedUsers
from socket_edge.relay.inbox import Inbox
from socket_edge.relay.lanes import Lane
from socket_edge.relay.workers import WorkerState, WorkerWatch

_EVERY_S: Final = 0.5


class Monitor:
    """Sets the gauges of an edge regularly, from within its event loop."""

    def __init__(
        self,
        users: ConnectedUsers,
        lanes: Mapping[str, Lane],
        inbox: Inbox,
        presence: EdgePresence,
        workers: WorkerWatch,
    ) -> None:
        self._users = users
        self._lanes = lanes
        self._inbox = inbox
        self._presence = presence
        self._workers = workers

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.monotonic() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            metrics.LOOP_DELAY.observe(max(0.0, time.monotonic() - due))
            self.measure()
            PULSE.beat()

    def measure(self) -> None:
        """Set all gauges."""
        metrics.SOCKETS.set(len(self._users))
        metrics.USERS.set(len(self._users.user_ids()))
        metrics.INBOX_READING.set(self._inbox.reading)
        metrics.INBOX_LAG.set(self._inbox.lag_s)
        metrics.LEASE_HELD.set(self._presence.has_lease)
        metrics.WORKERS_ANSWERING.set(self._workers.state is WorkerState.ANSWERING)
        for name, lane in self._lanes.items():
            waiting = lane.unanswered()
            metrics.WAITING.labels(name).set(len(waiting))
            oldest = min((request.received_at for request in waiting), default=None)
            metrics.OLDEST_WAITING.labels(name).set(0 if oldest is None else time.monotonic() - oldest)
