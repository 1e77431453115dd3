"""Receipts: acks that come together share a request, rounds follow one another, and none is forgotten."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest

from infra.wire.commands import ConfirmDelivery
from infra.wire.errors import ErrorCode
from infra.wire.inbox import Answer
from infra.wire.registry import CONFIRM_DELIVERY
from socket_edge.delivery.receipts import Receipts
from socket_edge.interval_set import IntervalSet
from socket_edge.relay.pending import PendingRequest, PendingRequests, Settle
from tests.harness.waiting import PATIENCE_S

LINGER_S = 0.01


class FakeLanes:
    """Opens requests that wait until the test answers them."""

    def __init__(self, requests: PendingRequests) -> None:
        self.requests = requests
        self.relayed: list[PendingRequest] = []
        self.more = asyncio.Event()

    def relay_receipt(self, user_id: str, payload: bytes, settle: Settle) -> None:
        self.relayed.append(self.requests.open(CONFIRM_DELIVERY, user_id, "", payload, settle))
        self.more.set()


class Edge:
    """Receipts with nothing behind them."""

    def __init__(self) -> None:
        self.requests = PendingRequests(60)
        self.lanes = FakeLanes(self.requests)
        self.receipts = Receipts(cast(Any, self.lanes), LINGER_S)
        self.confirmed = IntervalSet()

    def ack(self, seq: int, chat_id: str = "chat") -> None:
        self.confirmed.add(seq)
        self.receipts.add("bob", chat_id, self.confirmed, seq)

    def relayed(self) -> list[tuple[str, list[tuple[int, int]]]]:
        commands = [msgspec.json.decode(one.payload, type=ConfirmDelivery) for one in self.lanes.relayed]
        return [(command.chat_id, command.spans) for command in commands]

    async def wait_relayed(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.lanes.relayed) < count:
                self.lanes.more.clear()
                await self.lanes.more.wait()


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    edge = Edge()
    running = asyncio.create_task(edge.receipts.run())
    yield edge
    running.cancel()
    await asyncio.wait([running])


async def test_acks_that_come_together_are_one_request_a_chat(edge: Edge) -> None:
    edge.ack(1)
    edge.ack(2)
    edge.ack(2, "other")
    await edge.wait_relayed(2)
    assert edge.relayed() == [("chat", [(1, 2)]), ("other", [(2, 2)])]


async def test_acks_wait_while_earlier_receipts_are_on_their_way(edge: Edge) -> None:
    edge.ack(1)
    await edge.wait_relayed(1)
    for seq in range(2, 6):
        edge.ack(seq)
        await asyncio.sleep(LINGER_S)
    assert len(edge.relayed()) == 1
    edge.requests.answer(Answer(edge.lanes.relayed[0].id))
    await edge.wait_relayed(2)
    assert edge.relayed()[1:] == [("chat", [(2, 5)])]


async def test_receipts_of_many_chats_go_in_portions(edge: Edge) -> None:
    chats = [f"chat {number}" for number in range(60)]
    for chat in chats:
        edge.ack(1, chat)
    for portion in (chats[:25], chats[25:50], chats[50:]):
        relayed = len(edge.lanes.relayed)
        await edge.wait_relayed(relayed + len(portion))
        assert [chat for chat, _ in edge.relayed()[relayed:]] == portion
        for request in edge.lanes.relayed[relayed:]:
            edge.requests.answer(Answer(request.id))


async def test_receipts_of_very_many_chats_go_in_larger_portions(edge: Edge) -> None:
    for number in range(801):
        edge.ack(1, f"chat {number}")
    for relayed in range(0, 801, 101):
        await edge.wait_relayed(min(relayed + 101, 801))
        assert len(edge.lanes.relayed) == min(relayed + 101, 801)
        for request in edge.lanes.relayed[relayed:]:
            edge.requests.answer(Answer(request.id))


async def test_receipts_that_failed_for_now_are_relayed_again(edge: Edge) -> None:
    edge.ack(1)
    await edge.wait_relayed(1)
    edge.requests.fail(edge.lanes.relayed[0], ErrorCode.UNAVAILABLE)
    await edge.wait_relayed(2)
    assert edge.relayed() == [("chat", [(1, 1)])] * 2


async def test_waiting_receipts_leave_at_once_when_the_edge_stops() -> None:
    edge = Edge()
    edge.ack(1)
    edge.receipts.flush()
    assert edge.relayed() == [("chat", [(1, 1)])]
    assert len(edge.requests) == 1
