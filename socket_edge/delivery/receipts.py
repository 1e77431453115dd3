"""Collects client acks by user and chat, and relays them together without holding up sends."""

import asyncio
import math
import time
from collections import defaultdict
from itertools import islice

import msgspec

from infra.wire.commands import ConfirmDelivery
from infra.wire.inbox import Answer
from socket_edge.interval_set import IntervalSet
from socket_edge.relay.lanes import Lanes

_PAUSE_FACTOR = 10
"""Wait this multiple of the last batch's duration before sending again, so that sends rarely wait."""
_PAUSE_MAX_S = 0.3
_PORTION = 25
"""Fewest chats in a portion, whose receipts leave together."""
_PORTIONS = 8
"""Most portions that leave one after another. There are several so that a send waits for few receipts."""
_CHATS = 50_000
"""Most chats whose receipts wait while workers are away. Messages of further chats are delivered again."""
_SPANS = 1_000
"""Intervals to send at a time, per socket and chat. Those behind a hole take effect once it is filled."""

_Socket = tuple[IntervalSet, int]
"""The seqs that a socket has confirmed in a chat, and the lowest of those that are new."""


class Receipts:
    """Delivery receipts on their way to the workers. A failed one is tried again."""

    def __init__(self, lanes: Lanes, linger_s: float) -> None:
        """`linger_s` is how long receipts are collected before they leave together, in seconds."""
        self._lanes = lanes
        self._linger_s = linger_s
        self._waiting: dict[tuple[str, str], dict[int, _Socket]] = defaultdict(dict)
        self._arrived = asyncio.Event()

    def add(self, user_id: str, chat_id: str, confirmed: IntervalSet, seq: int) -> None:
        """Schedule a receipt for everything, from `seq` on, that a socket has confirmed in a chat."""
        key = (user_id, chat_id)
        if key in self._waiting or len(self._waiting) < _CHATS:
            sockets = self._waiting[key]
            _, lowest = sockets.get(id(confirmed), (confirmed, seq))
            sockets[id(confirmed)] = (confirmed, min(lowest, seq))
            self._arrived.set()

    async def run(self) -> None:
        """Relay what was collected in each linger time, until cancelled."""
        linger_s = self._linger_s
        while True:
            await self._arrived.wait()
            await asyncio.sleep(linger_s)
            began_at = time.monotonic()
            chats = len(self._waiting)
            portion = max(_PORTION, math.ceil(chats / _PORTIONS))
            for _ in range(0, chats, portion):
                await asyncio.gather(*self.flush(portion))
            took_s = time.monotonic() - began_at
            linger_s = max(self._linger_s, min(_PAUSE_FACTOR * took_s, _PAUSE_MAX_S))

    def flush(self, chats: int | None = None) -> list[asyncio.Future[None]]:
        """Relay what waits for `chats` chats, or for all. The futures are done once it is settled."""
        keys = list(islice(self._waiting, chats))
        relayed = [self._relay(*key, list(self._waiting.pop(key).values())) for key in keys]
        if not self._waiting:
            self._arrived.clear()
        return relayed

    def _relay(self, user_id: str, chat_id: str, sockets: list[_Socket]) -> asyncio.Future[None]:
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(answer: Answer) -> None:
            if answer.failure is not None and answer.failure.code.retryable:
                for confirmed, lowest in sockets:
                    self.add(user_id, chat_id, confirmed, lowest)
            if not settled.done():
                settled.set_result(None)

        spans = [span for confirmed, lowest in sockets for span in confirmed.intervals_from(lowest)[:_SPANS]]
        payload = msgspec.json.encode(ConfirmDelivery(chat_id=chat_id, spans=spans))
        self._lanes.relay_receipt(user_id, payload, settle)
        return settled
