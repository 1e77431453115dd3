"""Lanes, with a dispatcher that only records what it is given."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from infra.wire.batch import Batch
from infra.wire.clock import RedisClock
from infra.wire.errors import ErrorCode
from infra.wire.inbox import Answer, InboxEntry
from socket_edge.relay.lanes import Lane, LaneLimits, Lanes
from socket_edge.relay.pending import PendingRequest, PendingRequests
from socket_edge.tasks import Tasks, stop
from tests.harness.waiting import PATIENCE_S
from tests.unit.socket_edge.relay.pending import Asked

FAR = 60.0
LIMITS = LaneLimits(
    max_events=1_000,
    max_bytes=1_000_000,
    max_batch_events=100,
    max_batch_bytes=10_000,
    redispatch_s=FAR,
    redispatch_max_s=FAR,
)


class Queue:
    """Takes the place of the queue to the workers."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.times: list[float] = []
        self.cautious: list[bool] = []
        self.accepts = True
        self.fails = False
        self.on_sent: Callable[[Batch], None] = lambda _: None
        """Called with each batch before the lane goes on: what it does comes before any time limit."""
        self._sent = asyncio.Condition()

    async def dispatch(self, batch: Batch, cautious: bool) -> bool:
        """Take a batch, or refuse it, or fail as nothing should."""
        if self.fails:
            raise ZeroDivisionError
        async with self._sent:
            self.batches.append(batch)
            self.times.append(time.monotonic())
            self.cautious.append(cautious)
            self.on_sent(batch)
            self._sent.notify_all()
        return self.accepts

    async def sent(self, count: int) -> Batch:
        """Wait until `count` batches were sent; return the last of them."""
        async with asyncio.timeout(PATIENCE_S), self._sent:
            await self._sent.wait_for(lambda: len(self.batches) >= count)
        return self.batches[count - 1]

    async def gap_s(self, request: PendingRequest) -> float:
        """Wait until a request was sent twice; return the time between."""
        while True:
            times = [
                at for at, batch in zip(self.times, self.batches, strict=True) if request.id in ids(batch)
            ]
            if len(times) > 1:
                return times[1] - times[0]
            await self.sent(len(self.batches) + 1)


class LaneOf:
    """A lane with a queue behind it."""

    def __init__(self, asked: Asked, *, eager: bool = False, **limits: Any) -> None:
        self.asked = asked
        self.queue = Queue()
        self.tasks = Tasks()
        self.lane = Lane(
            "edge-1", self.queue.dispatch, asked.open, replace(LIMITS, **limits), self.tasks, eager=eager
        )

    def submit(self, count: int = 1, payload: bytes = b"{}") -> list[PendingRequest]:
        """Queue requests."""
        requests = [self.asked.request(payload) for _ in range(count)]
        assert all(self.lane.submit(request) for request in requests)
        return requests

    def submit_hurried(self) -> PendingRequest:
        """Queue a request whose deadline is soon."""
        request = self.asked.request(requests=PendingRequests(deadline_s=0.05))
        self.asked.open._open[request.id] = request
        assert self.lane.submit(request)
        return request

    async def done(self, batch: Batch) -> None:
        """Report the result of a batch, as a worker would."""
        self.finish(batch)

    def finish(self, batch: Batch) -> None:
        """Do so at once."""
        for event in batch.events:
            self.asked.open.answer(Answer(event.id))
        self.lane.finish(InboxEntry(batch_id=batch.id))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stop the lane in the end."""
        yield
        await self.tasks.stop()


def ids(batch: Batch) -> list[str]:
    return [event.id for event in batch.events]


def relay(lanes: Lanes, name: str = "send_message", *, expires: bool = True) -> list[Answer]:
    """Relay an event through the first lane; return the list that its answers go to."""
    answers: list[Answer] = []
    lanes.relay(0, name, "user", b"{}", answers.append, socket_id="socket", expires=expires)
    return answers


def codes(answers: list[Answer]) -> list[ErrorCode | None]:
    return [answer.failure.code if answer.failure else None for answer in answers]


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_idle_lane_sends_at_once() -> None:
    one = LaneOf(Asked())
    async with one.running():
        await settle()
        (request,) = one.submit()
        await settle()
        assert [ids(batch) for batch in one.queue.batches] == [[request.id]]


async def test_an_eager_lane_sends_in_the_call_that_brings_a_request() -> None:
    one = LaneOf(Asked(), eager=True)
    async with one.running():
        for number in (1, 2):
            (request,) = one.submit()
            if sys.version_info < (3, 12):
                await settle()  # there, tasks never begin at once
            assert [ids(batch) for batch in one.queue.batches[number - 1 :]] == [[request.id]]
            await one.done(one.queue.batches[-1])
            await settle()


async def test_an_eager_lane_batches_what_arrives_meanwhile() -> None:
    one = LaneOf(Asked(), eager=True)
    async with one.running():
        one.submit()
        first = await one.queue.sent(1)
        waiting = one.submit(10)
        await one.done(first)
        assert ids(await one.queue.sent(2)) == [request.id for request in waiting]


@pytest.mark.parametrize("eager", [False, True])
async def test_a_lane_that_fails_goes_on_with_the_next_request(eager: bool) -> None:
    one = LaneOf(Asked(), eager=eager)
    async with one.running():
        one.queue.fails = True
        one.submit()
        await settle()
        one.queue.fails = False
        (request,) = one.submit()
        assert ids(await one.queue.sent(1)) == [request.id]


async def test_what_waits_behind_a_batch_that_fails_is_not_lost() -> None:
    one = LaneOf(Asked(), max_batch_events=1)
    async with one.running():
        one.queue.fails = True
        _, waiting = one.submit(2)
        await settle()
        one.queue.fails = False
        one.submit()
        assert ids(await one.queue.sent(1)) == [waiting.id]


async def test_a_lane_that_was_stopped_sends_nothing_again() -> None:
    one = LaneOf(Asked(), redispatch_s=0.01)
    async with one.running():
        one.submit()
        await one.queue.sent(3)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_requests_that_arrive_meanwhile_leave_as_one_batch_in_order() -> None:
    one = LaneOf(Asked())
    async with one.running():
        one.submit()
        first = await one.queue.sent(1)
        waiting = one.submit(10)
        await settle()
        assert len(one.queue.batches) == 1
        await one.done(first)
        assert ids(await one.queue.sent(2)) == [request.id for request in waiting]


async def test_a_batch_has_a_bounded_number_of_events() -> None:
    one = LaneOf(Asked(), max_batch_events=4)
    async with one.running():
        requests = one.submit(10)
        for number in (1, 2, 3):
            await one.done(await one.queue.sent(number))
    assert [len(batch.events) for batch in one.queue.batches] == [4, 4, 2]
    assert [sent for batch in one.queue.batches for sent in ids(batch)] == [r.id for r in requests]


async def test_a_batch_has_a_bounded_size() -> None:
    one = LaneOf(Asked(), max_batch_bytes=1_000)
    async with one.running():
        one.submit(5, b'"%s"' % (b"x" * 398))
        for number in (1, 2, 3):
            await one.done(await one.queue.sent(number))
    assert [len(batch.events) for batch in one.queue.batches] == [2, 2, 1]


async def test_an_event_larger_than_a_batch_goes_alone() -> None:
    one = LaneOf(Asked(), max_batch_bytes=10)
    async with one.running():
        one.submit(2, b'"far more than ten bytes"')
        assert len((await one.queue.sent(1)).events) == 1


async def test_a_batch_without_a_result_is_sent_again_with_the_same_id() -> None:
    one = LaneOf(Asked(), redispatch_s=0.01)
    async with one.running():
        one.submit(3)
        again = await one.queue.sent(3)
    assert one.queue.batches[0] == one.queue.batches[1] == again


async def test_what_is_answered_is_not_sent_again() -> None:
    one = LaneOf(Asked(), redispatch_s=0.01)
    async with one.running():
        answered, *others = one.submit(3)
        first = await one.queue.sent(1)
        one.asked.open.answer(Answer(answered.id))
        while len((again := await one.queue.sent(len(one.queue.batches) + 1)).events) == 3:
            pass
    assert (again.id, ids(again)) == (first.id, [request.id for request in others])


async def test_a_batch_whose_requests_are_all_answered_holds_up_no_other() -> None:
    one = LaneOf(Asked(), redispatch_s=0.01)
    async with one.running():
        (answered,) = one.submit()
        await one.queue.sent(1)
        one.asked.open.answer(Answer(answered.id))
        (waiting,) = one.submit()
        while ids(await one.queue.sent(len(one.queue.batches) + 1)) != [waiting.id]:
            pass
    assert one.lane.unanswered() == [waiting]


async def test_workers_that_are_slow_are_given_the_time_that_they_need() -> None:
    one = LaneOf(Asked(), redispatch_s=0.2)
    async with one.running():
        one.submit()
        first = await one.queue.sent(1)
        await asyncio.sleep(0.15)  # this is how slow they are
        await one.done(first)
        (request,) = one.submit()
        assert await one.queue.gap_s(request) >= 0.3


async def test_workers_that_let_a_deadline_pass_are_given_as_much_time_as_there_is() -> None:
    one = LaneOf(Asked(), redispatch_s=0.01, redispatch_max_s=0.06)
    async with one.running():
        one.submit_hurried()
        await one.queue.sent(1)
        (patient,) = one.submit()
        assert await one.queue.gap_s(patient) >= 0.05


async def test_an_outage_does_not_make_workers_look_slow() -> None:
    one = LaneOf(Asked(), redispatch_s=0.01)
    one.queue.accepts = False

    def end_outage(batch: Batch) -> None:
        if len(one.queue.batches) == 4:
            one.queue.accepts = True
            one.finish(batch)

    one.queue.on_sent = end_outage
    async with one.running():
        one.submit()
        await one.queue.sent(4)
        one.submit()
        await one.queue.sent(5)
        assert one.lane._patience_s == 0.01


async def test_only_a_batch_in_trouble_is_sent_with_caution() -> None:
    one = LaneOf(Asked(), redispatch_s=0.01)
    one.queue.on_sent = lambda batch: one.finish(batch) if len(one.queue.batches) == 3 else None
    async with one.running():
        one.submit()
        await one.queue.sent(3)
        one.submit()
        await one.queue.sent(4)
    assert one.queue.cautious[:4] == [False, True, True, False]


async def test_a_late_result_of_an_earlier_batch_is_ignored() -> None:
    one = LaneOf(Asked())
    async with one.running():
        one.submit()
        first = await one.queue.sent(1)
        await one.done(first)
        one.submit()
        await one.queue.sent(2)
        one.submit()
        await one.done(first)
        await settle()
        assert len(one.queue.batches) == 2


async def test_a_batch_that_the_workers_postpone_is_sent_again() -> None:
    one = LaneOf(Asked(), redispatch_s=0.01)
    async with one.running():
        one.queue.on_sent = lambda batch: one.lane.finish(
            InboxEntry(batch_id=batch.id, retry=ErrorCode.UNAVAILABLE)
        )
        (request,) = one.submit()
        again = await one.queue.sent(2)
        assert one.queue.batches[0] == again
        one.asked.open.fail(request, request.trouble())
    assert one.asked.codes(request) == [ErrorCode.UNAVAILABLE]


async def trouble_after(one: LaneOf) -> ErrorCode:
    """Return what a request is told that gets no answer."""
    async with one.running():
        (request,) = one.submit()
        await one.queue.sent(2)
        return request.trouble()


async def test_a_batch_that_nobody_answers_is_a_timeout() -> None:
    assert await trouble_after(LaneOf(Asked(), redispatch_s=0.01)) is ErrorCode.TIMEOUT


async def test_a_batch_that_the_queue_refuses_is_unavailable() -> None:
    one = LaneOf(Asked(), redispatch_s=0.01)
    one.queue.accepts = False
    assert await trouble_after(one) is ErrorCode.UNAVAILABLE


async def test_after_the_deadline_the_lane_goes_on_with_the_next_batch() -> None:
    one = LaneOf(Asked(), redispatch_s=0.01)
    async with one.running():
        hurried = one.submit_hurried()
        await one.queue.sent(1)
        (patient,) = one.submit()
        async with asyncio.timeout(PATIENCE_S):
            while ids(one.queue.batches[-1]) != [patient.id]:
                await one.queue.sent(len(one.queue.batches) + 1)
    assert time.monotonic() >= hurried.deadline


async def test_a_request_answered_while_it_waits_is_not_sent() -> None:
    one = LaneOf(Asked())
    async with one.running():
        one.submit()
        first = await one.queue.sent(1)
        expired, kept = one.submit(2)
        one.asked.open.fail(expired, ErrorCode.TIMEOUT)
        await one.done(first)
        assert ids(await one.queue.sent(2)) == [kept.id]


async def test_a_lane_with_too_many_bytes_is_full() -> None:
    asked = Asked()
    one = LaneOf(asked, max_bytes=10)
    async with one.running():
        assert one.lane.submit(asked.request(payload=b"x" * 10))
        assert not one.lane.submit(asked.request())


async def test_a_full_lane_answers_busy() -> None:
    asked = Asked()
    one = LaneOf(asked, max_events=3)
    lanes = Lanes([one.lane], LaneOf(asked).lane, asked.open)
    answers = [relay(lanes) for _ in range(5)]
    assert [codes(one) for one in answers] == [[], [], [], [ErrorCode.BUSY], [ErrorCode.BUSY]]


async def test_typing_is_dropped_long_before_a_send_is() -> None:
    asked = Asked()
    one = LaneOf(asked, max_events=100)
    lanes = Lanes([one.lane], LaneOf(asked).lane, asked.open)
    one.submit(10)
    typing, send = relay(lanes, "typing"), relay(lanes)
    assert (codes(typing), codes(send)) == ([ErrorCode.BUSY], [])


async def test_receipts_hold_up_no_send() -> None:
    asked = Asked()
    sends, receipts = LaneOf(asked), LaneOf(asked)
    lanes = Lanes([sends.lane], receipts.lane, asked.open)
    async with sends.running(), receipts.running():
        lanes.relay_receipt("user", b"{}", lambda _: None)
        assert [event.name for event in (await receipts.queue.sent(1)).events] == ["confirm_delivery"]
        relay(lanes)
        assert [event.name for event in (await sends.queue.sent(1)).events] == ["send_message"]


async def test_connections_are_spread_over_the_lanes() -> None:
    asked = Asked()
    lanes = Lanes([LaneOf(asked).lane for _ in range(3)], LaneOf(asked).lane, asked.open)
    chosen = [lanes.choose() for _ in range(9)]
    assert {lane: chosen.count(lane) for lane in range(3)} == {0: 3, 1: 3, 2: 3}


async def test_lanes_answer_requests_past_their_deadline() -> None:
    asked = Asked(deadline_s=0.05)
    one = LaneOf(asked, redispatch_s=0.01)
    lanes = Lanes([one.lane], LaneOf(asked).lane, asked.open)
    expiring = asyncio.create_task(lanes.expire_requests())
    async with one.running():
        answers = relay(lanes)
        async with asyncio.timeout(PATIENCE_S):
            await asked.open.wait_settled()
    assert codes(answers) == [ErrorCode.TIMEOUT]
    await stop([expiring])


async def test_a_full_receipt_lane_answers_busy() -> None:
    asked = Asked()
    lanes = Lanes([LaneOf(asked).lane], LaneOf(asked, max_events=1).lane, asked.open)
    answers: list[Answer] = []
    for _ in range(2):
        lanes.relay_receipt("user", b"{}", answers.append)
    assert codes(answers) == [ErrorCode.BUSY]


async def test_the_result_of_a_batch_reaches_the_lane_that_sent_it() -> None:
    asked = Asked()
    first, second, receipts = LaneOf(asked), LaneOf(asked), LaneOf(asked)
    lanes = Lanes([first.lane, second.lane], receipts.lane, asked.open)
    async with first.running(), second.running(), receipts.running():
        for one in (first, second, receipts):
            one.submit()
            batch = await one.queue.sent(1)
            one.submit()
            lanes.finish(InboxEntry(batch_id=batch.id))
            await one.queue.sent(2)


async def test_only_an_event_that_expires_tells_the_workers_when() -> None:
    clock = RedisClock()
    clock.note(1_000, 0)
    requests = PendingRequests(60, clock)
    one = LaneOf(Asked())
    one.lane = Lane("edge-1", one.queue.dispatch, requests, LIMITS, one.tasks)
    lanes = Lanes([one.lane], LaneOf(Asked()).lane, requests)
    async with one.running():
        relay(lanes)
        relay(lanes, expires=False)
        expiring, lasting = (await one.queue.sent(1)).events
    assert 1_060_000 <= expiring.expires_ms < 1_070_000
    assert lasting.expires_ms == 0
