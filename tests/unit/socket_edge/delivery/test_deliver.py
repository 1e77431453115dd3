"""Delivery to one socket: each message once, and every ack is passed on."""

from typing import Any, cast

import msgspec
import pytest

from infra.wire.events import MESSAGE_SENT, NEW_MESSAGE
from infra.wire.inbox import Answer, Emit, InboxEntry, Position, Target
from socket_edge.chat.session import ConnectedUsers
from socket_edge.delivery.deliver import Delivery
from socket_edge.interval_set import IntervalSet
from tests.unit.socket_edge.connections import connect, sign_in

CHAT = "chat"


class FakeReceipts:
    """Records what is confirmed."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.spans: list[tuple[int, int]] = []

    def add(self, user_id: str, chat_id: str, confirmed: IntervalSet, seq: int) -> None:
        self.seqs.append(seq)
        self.spans = confirmed.intervals_from(seq)


class Socket:
    """One socket of bob with everything around it."""

    def __init__(self) -> None:
        self.receipts, self.users = FakeReceipts(), ConnectedUsers()
        self.connection, self.session = connect("bob")
        self.users.add(self.session)
        unused: Any = None
        self.delivery = Delivery(self.users, unused, unused, cast(Any, self.receipts))

    def take(self, seq: int, event: str = NEW_MESSAGE, chat_id: str = CHAT) -> None:
        target = Target("bob", event, ack=event == NEW_MESSAGE)
        emit = Emit([target], msgspec.Raw(b"{}"), Position(chat_id, seq))
        self.delivery.take(InboxEntry(emits=[emit]))

    def ack(self, seq: int) -> None:
        [ack_id] = [key for key, position in self.session.unacked.items() if position.seq == seq]
        self.delivery.acked(self.session, ack_id)


@pytest.fixture
def socket() -> Socket:
    return Socket()


def test_a_message_that_comes_again_is_emitted_once(socket: Socket) -> None:
    for seq in (1, 2, 1, 2):
        socket.take(seq)
    assert len(socket.connection.sent) == 2


def test_a_note_to_self_is_emitted_as_sent_and_as_new(socket: Socket) -> None:
    socket.take(1, MESSAGE_SENT, f"{CHAT}/sent")
    socket.take(1)
    assert socket.connection.names() == [MESSAGE_SENT, NEW_MESSAGE]


def test_an_ack_is_confirmed_and_a_second_one_changes_nothing(socket: Socket) -> None:
    socket.take(1)
    socket.ack(1)
    socket.delivery.acked(socket.session, 1)
    assert socket.receipts.seqs == [1]


def test_an_ack_that_was_never_asked_for_confirms_nothing(socket: Socket) -> None:
    socket.take(1)
    socket.delivery.acked(socket.session, 99)
    assert socket.receipts.seqs == []


def test_a_message_that_comes_again_after_its_ack_is_confirmed_again(socket: Socket) -> None:
    socket.take(1)
    socket.ack(1)
    socket.take(1)
    assert socket.receipts.seqs == [1, 1]


def test_a_late_ack_confirms_the_ones_behind_it_as_well(socket: Socket) -> None:
    for seq in (1, 2, 3, 5):
        socket.take(seq)
    for seq in (1, 3, 5, 2):
        socket.ack(seq)
    assert socket.receipts.spans == [(2, 3), (5, 5)]


def test_the_users_own_messages_keep_confirmed_ones_together(socket: Socket) -> None:
    for seq in range(1, 1_000, 2):
        socket.take(seq)
        socket.ack(seq)
        socket.take(seq + 1, MESSAGE_SENT)
    assert socket.session.confirmed[CHAT].intervals_from(1) == [(1, 1_000)]
    assert socket.session.seen[CHAT].intervals_from(1) == [(1, 1_000)]


def test_reading_settles_the_messages_that_were_emitted(socket: Socket) -> None:
    for seq in (1, 2, 4):
        socket.take(seq)
    socket.delivery.ack_up_to(socket.session, Position(CHAT, 9))
    assert socket.receipts.seqs == [1, 2, 4]
    assert socket.session.confirmed[CHAT].intervals_from(1) == [(1, 2), (4, 4)]


def test_each_socket_of_a_user_receives_a_message_and_nobody_else_does(socket: Socket) -> None:
    second, session = connect("bob", socket_id="socket-2")
    stranger, other = connect("carol", socket_id="socket-3")
    for one in (session, other):
        socket.users.add(one)
    socket.take(1)
    assert (len(socket.connection.sent), len(second.sent), stranger.sent) == (1, 1, [])


def test_the_socket_that_a_target_skips_receives_nothing(socket: Socket) -> None:
    second, session = connect("bob", socket_id="socket-2")
    socket.users.add(session)
    target = Target("bob", "typing", skip="socket-1")
    socket.delivery.take(InboxEntry(emits=[Emit([target], msgspec.Raw(b"{}"))]))
    assert (socket.connection.names(), second.names()) == ([], ["typing"])


def test_an_event_without_a_position_is_emitted_each_time(socket: Socket) -> None:
    for _ in range(2):
        emit = Emit([Target("bob", "typing")], msgspec.Raw(b"{}"))
        socket.delivery.take(InboxEntry(emits=[emit]))
    assert socket.connection.names() == ["typing", "typing"]


def test_a_later_sign_in_receives_no_message_of_the_earlier_session(socket: Socket) -> None:
    sign_in(socket.connection, "carol", socket_id="socket-2")
    socket.take(1)
    assert socket.connection.sent == []


def test_answers_are_settled_before_the_events_of_their_entry_are_emitted() -> None:
    calls: list[str] = []

    class Recorder:
        def answer(self, answer: Answer) -> None:
            calls.append(f"answer {answer.id}")

        def finish(self, entry: InboxEntry) -> None:
            calls.append(f"finish {entry.batch_id}")

    connection, session = connect("bob")
    users = ConnectedUsers()
    users.add(session)
    recorder = cast(Any, Recorder())
    delivery = Delivery(users, recorder, recorder, cast(Any, FakeReceipts()))
    emit = Emit([Target("bob", "typing")], msgspec.Raw(b"{}"))
    delivery.take(InboxEntry(batch_id="batch", answers=[Answer("one"), Answer("two")], emits=[emit]))
    assert calls == ["finish batch", "answer one", "answer two"]
    assert connection.names() == ["typing"]


def test_a_stored_message_answers_its_send() -> None:
    answers: list[Answer] = []

    class Requests:
        def answer(self, answer: Answer) -> None:
            answers.append(answer)

    unused: Any = None
    delivery = Delivery(ConnectedUsers(), cast(Any, Requests()), unused, unused)
    emit = Emit([Target("bob", MESSAGE_SENT)], msgspec.Raw(b'{"seq":1}'), answers="one")
    delivery.take(InboxEntry(emits=[emit]))
    assert [(answer.id, bytes(answer.data)) for answer in answers] == [
        ("one", b'{"message":{"seq":1},"success":true}')
    ]
