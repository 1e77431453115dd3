"""Collects client acks per user and chat, and relays them together, behind no send."""

import asyncio
import math
import time
from collections import defaultdict
from itertools import islice

import msgspec

from infra.wire.commands import CONFIRM_DELIVERY, ConfirmDelivery
from infra.wire.inbox import Answer
from socket_edge.relay.lanes import Lanes
from socket_edge.relay.requests import OpenRequests
from socket_edge.seqs import Seqs

_REST = 10
"""Receipts rest so many times as long as the last ones took, so that sends seldom wait behind them."""
_REST_MAX_S = 0.3
_PORTION = 50
"""Chats whose receipts go together at least, so that a send waits behind few of them."""
_PORTIONS = 4
"""Requests that the receipts of one time go in at most, so that many chats do not make many batches."""
_CHATS = 50_000
"""Chats with receipts that may wait while workers are away. Others come again at the next connect."""
_SPANS = 1_000
"""Of a socket and chat that are told at a time; what lies behind holes counts only when these are closed."""

_Socket = tuple[Seqs, int]
"""What a socket has confirmed of a chat, and the lowest seq of it that is new."""


class Receipts:
    """Delivery receipts on their way to the workers. One that fails is tried again."""

    def __init__(self, lanes: Lanes, requests: OpenRequests, linger_s: float) -> None:
        self._lanes = lanes
        self._requests = requests
        self._linger_s = linger_s
        self._waiting: dict[tuple[str, str], dict[int, _Socket]] = defaultdict(dict)
        self._arrived = asyncio.Event()

    def add(self, user_id: str, chat_id: str, confirmed: Seqs, seq: int) -> None:
        """Have everything that a socket has confirmed of a chat, from `seq` on, relayed."""
        key = (user_id, chat_id)
        if key in self._waiting or len(self._waiting) < _CHATS:
            sockets = self._waiting[key]
            _, lowest = sockets.get(id(confirmed), (confirmed, seq))
            sockets[id(confirmed)] = (confirmed, min(lowest, seq))
            self._arrived.set()

    async def run(self) -> None:
        """Relay what has come together in each linger time, until cancelled."""
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
            linger_s = max(self._linger_s, min(_REST * took_s, _REST_MAX_S))

    def flush(self, chats: int | None = None) -> list[asyncio.Future[None]]:
        """Relay what waits, of so many chats or of all; return what is done when they are settled."""
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

        spans = [span for confirmed, lowest in sockets for span in confirmed.spans_from(lowest)[:_SPANS]]
        payload = msgspec.json.encode(ConfirmDelivery(chat_id=chat_id, spans=spans))
        self._lanes.submit_receipt(self._requests.open(CONFIRM_DELIVERY, user_id, "", payload, settle))
        return settled
