"""Collects client acks per user and chat, and relays them together, behind no send."""

import asyncio
from collections import defaultdict
from uuid import UUID

import msgspec

from infra.wire.commands import CONFIRM_DELIVERY, ConfirmDelivery
from infra.wire.inbox import Answer, Position
from socket_edge.lanes import Lanes
from socket_edge.requests import OpenRequests
from socket_edge.seqs import Seqs

_CHATS = 50_000
"""Chats with receipts that may wait while workers are away. What is beyond is confirmed by the sweep."""


class Receipts:
    """Delivery receipts on their way to the workers. One that fails is tried again."""

    def __init__(self, lanes: Lanes, requests: OpenRequests, linger_s: float) -> None:
        self._lanes = lanes
        self._requests = requests
        self._linger_s = linger_s
        self._acked: dict[tuple[str, str], Seqs] = defaultdict(Seqs)
        self._arrived = asyncio.Event()

    def add(self, user_id: str, position: Position) -> None:
        """Note that a socket of the user has acked the message."""
        key = (user_id, position.chat_id)
        if key in self._acked or len(self._acked) < _CHATS:
            self._acked[key].add(position.seq)
            self._arrived.set()

    async def run(self) -> None:
        """Relay what has come together in each linger time, until cancelled."""
        while True:
            await self._arrived.wait()
            await asyncio.sleep(self._linger_s)
            self._arrived.clear()
            acked, self._acked = self._acked, defaultdict(Seqs)
            for (user_id, chat_id), seqs in acked.items():
                await self._relay(user_id, chat_id, seqs)

    async def _relay(self, user_id: str, chat_id: str, seqs: Seqs) -> None:
        async def settle(answer: Answer) -> None:
            if answer.failure is not None and answer.failure.code.retryable:
                for first, last in seqs.spans:
                    for seq in range(first, last + 1):
                        self.add(user_id, Position(chat_id, seq))

        payload = msgspec.json.encode(ConfirmDelivery(chat_id=UUID(chat_id), spans=seqs.spans))
        await self._lanes.submit_receipt(self._requests.open(CONFIRM_DELIVERY, user_id, "", payload, settle))
