"""Catch-up: page after page, in order, followed by whatever arrives meanwhile."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from infra.wire.commands import CatchUp
from infra.wire.errors import ErrorCode
from infra.wire.events import ERROR, NEW_MESSAGE
from infra.wire.inbox import Emit, InboxEntry, Position, Target
from infra.wire.registry import CATCH_UP
from socket_edge.chat.session import ConnectedUsers
from socket_edge.connection.api import DisconnectReason
from socket_edge.delivery import catch_up as module
from socket_edge.delivery.catch_up import CatchUps
from socket_edge.delivery.deliver import Delivery
from socket_edge.interval_set import IntervalSet
from socket_edge.tasks import Tasks
from tests.harness.waiting import PATIENCE_S
from tests.unit.socket_edge.connections import connect
from tests.unit.socket_edge.relay.recording import RecordingLanes, Relayed

CHAT = "chat"


class IgnoredReceipts:
    def add(self, user_id: str, chat_id: str, confirmed: IntervalSet, seq: int) -> None:
        pass


class SignallingLanes(RecordingLanes):
    """Says when something was relayed."""

    def __init__(self) -> None:
        super().__init__()
        self.more = asyncio.Event()

    def relay(self, *arguments: Any, **named: Any) -> None:
        super().relay(*arguments, **named)
        self.more.set()


class Socket:
    """One socket of bob that catches up."""

    def __init__(self, page_ack_s: float = PATIENCE_S) -> None:
        self.connection, self.session = connect("bob", lane=3)
        self.users, self.tasks, self.lanes = ConnectedUsers(), Tasks(), SignallingLanes()
        self.users.add(self.session)
        unused = cast(Any, None)
        self.delivery = Delivery(self.users, unused, unused, cast(Any, IgnoredReceipts()))
        self.catch_ups = CatchUps(self.users, cast(Any, self.lanes), self.delivery, self.tasks, page_ack_s)

    def start(self) -> asyncio.Task[None]:
        """Begin to catch up, as at a sign-in."""
        self.session.catching_up = self.tasks.start(self.catch_ups.run(self.session))
        return self.session.catching_up

    async def asked(self, count: int) -> Relayed:
        """Wait for the `count`-th request for a page."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.lanes.relayed) < count:
                self.lanes.more.clear()
                await self.lanes.more.wait()
        return self.lanes.relayed[count - 1]

    def arrive(self, seq: int, *, wants_ack: bool = True) -> None:
        """Publish a message, as a worker does."""
        target = Target("bob", NEW_MESSAGE, ack=wants_ack)
        emit = Emit([target], msgspec.Raw(b"%d" % seq), Position(CHAT, seq))
        self.delivery.take(InboxEntry(emits=[emit]))

    def ack_everything(self) -> None:
        for ack_id in list(self.session.unacked):
            self.delivery.acked(self.session, ack_id)

    def received(self) -> list[Any]:
        return self.connection.payloads(NEW_MESSAGE)


def page(*seqs: int, more: bool = False) -> dict[str, Any]:
    return {
        "messages": [[[CHAT, seq], seq] for seq in seqs],
        "next": {CHAT: seqs[-1]} if more else None,
    }


async def wait(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await task


async def test_the_request_goes_through_the_lane_of_the_session() -> None:
    socket = Socket()
    socket.start()
    request = await socket.asked(1)
    assert (request.lane, request.name, request.user_id, request.socket_id) == (
        *(3, CATCH_UP, "bob"),
        "socket-1",
    )
    assert request.payload == {
        **{"username": None, "issuedAt": None, "after": None, "lostS": None},
        **{"keepsCursors": True, "untilUs": None, "chatsAfter": None, "pages": 1},
    }
    request.answer(page())


async def test_a_socket_without_a_backlog_has_caught_up_at_once() -> None:
    socket = Socket()
    running = socket.start()
    (await socket.asked(1)).answer(page())
    await wait(running)
    assert socket.received() == []
    assert (socket.session.catching_up, socket.session.has_profile) == (None, True)


async def test_the_next_page_is_asked_for_while_the_last_one_is_acked_and_sent_behind_its_acks() -> None:
    socket = Socket()
    running = socket.start()
    (await socket.asked(1)).answer(page(1, 2, more=True))
    request = await socket.asked(2)
    assert len(socket.session.unacked) == 2
    assert msgspec.convert(request.payload, CatchUp).after == {CHAT: 2}
    request.answer(page(3, more=True))
    await settled(socket)
    assert socket.received() == [1, 2]
    assert len(socket.lanes.relayed) == 2
    socket.ack_everything()
    await received(socket, 3)
    (await socket.asked(3)).answer(page(4))
    await settled(socket)
    assert socket.received() == [1, 2, 3]
    socket.ack_everything()
    await wait(running)
    assert socket.received() == [1, 2, 3, 4]


async def test_pages_are_longer_for_a_client_that_acks_them_quickly() -> None:
    lengths = []
    socket = Socket()
    running = socket.start()
    for count in range(1, 6):
        request = await socket.asked(count)
        lengths.append(msgspec.convert(request.payload, CatchUp).pages)
        request.answer(page(count, more=True))
        await received(socket, count)
        socket.ack_everything()
    # The second page is asked for before the first one is acked.
    assert lengths == [1, 1, 2, 4, 4]
    (await socket.asked(6)).answer(page(6))
    await wait(running)


@pytest.mark.parametrize(("others", "longest"), [(0, 4), (3, 2), (7, 1), (30, 1)])
async def test_pages_are_short_while_many_sockets_catch_up(others: int, longest: int) -> None:
    socket = Socket()
    for number in range(others):
        socket.tasks.start(socket.catch_ups.run(connect(f"user-{number}", socket_id=f"other-{number}")[1]))
    await settled(socket)
    running = socket.start()
    lengths = []
    for count in range(1, 6):
        request = await socket.asked(others + count)
        lengths.append(msgspec.convert(request.payload, CatchUp).pages)
        request.answer(page(count, more=count < 5))
        await received(socket, count)
        socket.ack_everything()
    await wait(running)
    assert max(lengths) == longest
    for request in socket.lanes.relayed[:others]:
        request.answer(page())
    await socket.tasks.wait()


async def test_pages_are_short_again_for_a_client_that_becomes_slow() -> None:
    lengths = []
    socket = Socket(page_ack_s=0.01)
    running = socket.start()
    for count in range(1, 8):
        request = await socket.asked(count)
        lengths.append(msgspec.convert(request.payload, CatchUp).pages)
        request.answer(page(count, more=count < 7))
        await received(socket, count)
        if count < 4:
            socket.ack_everything()
    await wait(running)
    assert lengths == [1, 1, 2, 4, 4, 1, 1]


async def test_a_page_of_messages_that_the_socket_has_already_needs_no_acks() -> None:
    socket = Socket()
    socket.arrive(1)
    socket.ack_everything()
    socket.start()
    (await socket.asked(1)).answer(page(1, more=True))
    (await socket.asked(2)).answer(page())
    await socket.tasks.wait()
    assert socket.received() == [1]


async def test_a_client_that_never_acks_still_gets_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENT_S", 0.001)
    socket = Socket(page_ack_s=0.01)
    running = socket.start()
    for count in range(1, 6):
        (await socket.asked(count)).answer(page(count, more=count < 5))
    await wait(running)
    assert socket.received() == [1, 2, 3, 4, 5]


async def test_messages_that_arrive_meanwhile_come_behind_the_older_ones_and_once() -> None:
    socket = Socket()
    running = socket.start()
    request = await socket.asked(1)
    for seq in (3, 4):
        socket.arrive(seq)
    assert socket.received() == []
    request.answer(page(1, 2, 3))
    await wait(running)
    assert socket.received() == [1, 2, 3, 4]
    socket.arrive(5)
    assert socket.received()[-1] == 5


async def test_only_messages_that_want_an_ack_are_held() -> None:
    socket = Socket()
    socket.start()
    request = await socket.asked(1)
    socket.arrive(9, wants_ack=False)
    assert socket.received() == [9]
    request.answer(page())


async def test_a_socket_that_holds_too_much_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket_edge.delivery.deliver._HELD", 3)
    socket = Socket()
    socket.start()
    await socket.asked(1)
    for seq in range(1, 4):
        socket.arrive(seq)
    assert socket.connection.reason is None
    socket.arrive(4)
    assert socket.connection.reason is DisconnectReason.SLOW_CLIENT


async def test_a_page_that_fails_for_now_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.001)
    socket = Socket()
    running = socket.start()
    for count, code in enumerate((ErrorCode.TIMEOUT, ErrorCode.BUSY), 1):
        (await socket.asked(count)).fail(code)
    (await socket.asked(3)).answer(page(1))
    await wait(running)
    assert socket.received() == [1]
    assert socket.connection.payloads(ERROR) == []


async def test_a_user_who_cannot_be_served_is_told_why_and_receives_what_arrived() -> None:
    socket = Socket()
    running = socket.start()
    request = await socket.asked(1)
    socket.arrive(1)
    request.fail(ErrorCode.PROFILE_MISSING)
    await wait(running)
    assert [error["code"] for error in socket.connection.payloads(ERROR)] == ["profile_missing"]
    assert socket.received() == [1]
    assert not socket.session.has_profile


async def test_after_a_loss_every_socket_catches_up_with_what_was_lost() -> None:
    socket = Socket()
    other = connect("carol", socket_id="socket-2")[1]
    socket.users.add(other)
    since = asyncio.get_running_loop().time() - 5
    socket.catch_ups.restart(since)
    for count in (1, 2):
        request = await socket.asked(count)
        lost_s = msgspec.convert(request.payload, CatchUp).lost_s
        assert lost_s is not None
        assert 15 <= lost_s < 20
        request.answer(page())
    await socket.tasks.wait()
    assert {one.user_id for one in socket.lanes.relayed} == {"bob", "carol"}


async def test_after_a_loss_only_so_many_sockets_catch_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RESTARTS", 3)
    socket = Socket()
    others = [connect(f"user-{number}", socket_id=f"other-{number}")[1] for number in range(9)]
    for session in others:
        socket.users.add(session)
    now = asyncio.get_running_loop().time()
    socket.catch_ups.restart(now)
    await socket.asked(3)
    gone = others[5]
    socket.users.remove(gone)
    socket.catch_ups.restart(now - 1)
    answered = 0
    while answered < len(socket.lanes.relayed):
        await settled(socket)
        assert len(socket.lanes.relayed) - answered <= 3
        socket.lanes.relayed[answered].answer(page())
        answered += 1
        await settled(socket)
    assert {one.user_id for one in socket.lanes.relayed} == {
        session.user_id for session in (socket.session, *others) if session is not gone
    }
    # The second loss came while the first three were catching up.
    assert answered == 9 + 3
    assert all(session.lost_since is None for session in socket.users)


async def settled(socket: Socket) -> None:
    """Let the tasks run as far as they get."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_loss_during_a_catch_up_leads_to_one_more_round() -> None:
    socket = Socket()
    running = socket.start()
    request = await socket.asked(1)
    now = asyncio.get_running_loop().time()
    socket.catch_ups.restart(now)
    socket.catch_ups.restart(now - 3)
    assert len(socket.lanes.relayed) == 1
    request.answer(page(1))
    again = await socket.asked(2)
    lost_s = msgspec.convert(again.payload, CatchUp).lost_s
    assert lost_s is not None
    assert 13 <= lost_s < 18
    again.answer(page(1, 2))
    await wait(running)
    assert socket.received() == [1, 2]


async def test_an_answer_after_the_end_of_a_catch_up_is_ignored() -> None:
    socket = Socket()
    running = socket.start()
    request = await socket.asked(1)
    running.cancel()
    await asyncio.wait([running])
    request.answer(page(1))
    assert socket.received() == []
    assert socket.session.catching_up is None


def found(*chats: str, seq: int = 0, more_after: str | None = None) -> dict[str, Any]:
    """Make the answer to a look-up: one message waits in each chat, in the order of their names."""
    ahead = [[chat, seq, number] for number, chat in enumerate(chats, 1)]
    return {"messages": [], "ahead": ahead, "chats_after": more_after}


def messages(*chats: str) -> dict[str, Any]:
    return {"messages": [[[chat, 1], chat] for chat in chats], "ahead": [], "chats_after": None}


def names(count: int) -> list[str]:
    return [f"chat-{number:05}" for number in range(count)]


def asked_for(request: Relayed) -> tuple[dict[str, int] | None, int | None]:
    command = msgspec.convert(request.payload, CatchUp)
    return command.after, command.until_us


async def test_a_page_is_asked_for_with_the_chats_that_come_next_and_no_others() -> None:
    socket = Socket()
    running = socket.start()
    chats = names(120)
    (await socket.asked(1)).answer(found(*reversed(chats)))
    for count, part in enumerate((chats[70:], chats[20:70], chats[:20]), 2):
        request = await socket.asked(count)
        until_us = 50 * (count - 1) + 1 if count < 4 else None
        assert asked_for(request) == (dict.fromkeys(part, 0), until_us)
        request.answer(messages(*reversed(part)))
        await received(socket, min(50 * (count - 1), len(chats)))
        socket.ack_everything()
    await wait(running)
    assert socket.received() == list(reversed(chats))


async def received(socket: Socket, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(socket.received()) < count:
            await asyncio.sleep(0)


async def test_a_request_for_a_page_is_as_long_for_many_chats_as_for_few() -> None:
    sizes = []
    for count in (60, 5_000):
        socket = Socket()
        running = socket.start()
        (await socket.asked(1)).answer(found(*names(count)))
        sizes.append(len(msgspec.json.encode((await socket.asked(2)).payload)))
        running.cancel()
    assert sizes[0] == sizes[1]


async def test_a_chat_that_has_more_is_read_on_when_it_is_its_turn() -> None:
    socket = Socket()
    running = socket.start()
    (await socket.asked(1)).answer(
        {"messages": [], "ahead": [["a", 4, 10], ["b", 0, 20]], "chats_after": None}
    )
    request = await socket.asked(2)
    assert asked_for(request) == ({"a": 4, "b": 0}, None)
    request.answer({"messages": [], "ahead": [["a", 5, 30]], "chats_after": None})
    request = await socket.asked(3)
    assert asked_for(request) == ({"a": 5}, None)
    request.answer(messages())
    await wait(running)


async def test_a_chat_that_never_gets_on_is_not_asked_for_for_ever() -> None:
    socket = Socket()
    running = socket.start()
    (await socket.asked(1)).answer(found("a", "b"))
    (await socket.asked(2)).answer({**messages("b"), "ahead": [["a", 0, 1]]})
    await received(socket, 1)
    socket.ack_everything()
    request = await socket.asked(3)
    assert asked_for(request)[0] == {"a": 0}
    request.answer({**messages(), "ahead": [["a", 0, 1]]})
    await wait(running)
    assert socket.received() == ["b"]


async def test_all_chats_are_looked_up_before_the_first_page() -> None:
    socket = Socket()
    running = socket.start()
    (await socket.asked(1)).answer(found("a", more_after="m"))
    request = await socket.asked(2)
    assert (request.payload["after"], request.payload["chatsAfter"]) == (None, "m")
    request.answer(found("z"))
    request = await socket.asked(3)
    assert asked_for(request)[0] == {"a": 0, "z": 0}
    request.answer(messages("a", "z"))
    await wait(running)


async def test_a_look_up_that_fails_for_now_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.001)
    socket = Socket()
    running = socket.start()
    (await socket.asked(1)).answer(found(more_after="m"))
    (await socket.asked(2)).fail(ErrorCode.TIMEOUT)
    request = await socket.asked(3)
    assert request.payload["chatsAfter"] == "m"
    request.answer(found())
    await wait(running)


async def test_an_edge_keeps_a_bounded_number_of_chats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHATS_AHEAD", 3)
    socket = Socket()
    running = socket.start()
    (await socket.asked(1)).answer(found("a", "b", more_after="m"))
    (await socket.asked(2)).answer(found("n", more_after="n"))
    request = await socket.asked(3)
    assert asked_for(request)[0] == {"a": 0, "b": 0, "n": 0}
    request.answer(messages("a", "b", "n"))
    await received(socket, 3)
    socket.ack_everything()
    request = await socket.asked(4)
    assert (request.payload["after"], request.payload["chatsAfter"]) == (None, "n")
    request.answer(found())
    await wait(running)


async def test_workers_of_the_previous_release_are_asked_for_a_few_chats_at_a_time() -> None:
    socket = Socket()
    running = socket.start()
    chats = names(60)
    cursors = {**dict.fromkeys(chats, 0), "x": 1}
    (await socket.asked(1)).answer({"messages": [[["x", 1], "x"]], "next": cursors})
    left = set(cursors)
    for count in (2, 3):
        await received(socket, 1)
        socket.ack_everything()
        request = await socket.asked(count)
        after, _ = asked_for(request)
        assert after is not None
        assert after.items() <= cursors.items()
        left -= set(after)
        request.answer({"messages": [], "next": None})
    assert left == set()
    await wait(running)
