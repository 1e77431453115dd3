"""Delivery to one socket: each message once, and every ack is passed on."""

from typing import Any, cast

import msgspec
import pytest

from infra.wire.events import MESSAGE_SENT, NEW_MESSAGE
from infra.wire.inbox import Emit, InboxEntry, Position, Target
from socket_edge.auth import Identity
from socket_edge.delivery.deliver import Delivery
from socket_edge.seqs import Seqs
from socket_edge.sessions import ConnectedUsers, Session

CHAT = "chat"


class FakeTransport:
    """Keeps what would have been sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int | None]] = []

    def send_event(self, eio_sid: str, event: str, data: bytes, ack_id: int | None = None) -> None:
        self.sent.append((event, ack_id))


class FakeReceipts:
    """Keeps what would have been relayed."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.spans: list[tuple[int, int]] = []

    def add(self, user_id: str, chat_id: str, confirmed: Seqs, seq: int) -> None:
        self.seqs.append(seq)
        self.spans = confirmed.spans_from(seq)


class Socket:
    """One socket of bob with everything around it."""

    def __init__(self) -> None:
        self.transport, self.receipts, users = FakeTransport(), FakeReceipts(), ConnectedUsers()
        self.session = Session("sid", "eio", Identity("bob", 0, None), lane=0)
        users.add(self.session)
        unused: Any = None
        self.delivery = Delivery(cast(Any, self.transport), users, unused, unused, cast(Any, self.receipts))

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
    assert len(socket.transport.sent) == 2


def test_a_note_to_self_is_emitted_as_sent_and_as_new(socket: Socket) -> None:
    socket.take(1, MESSAGE_SENT, f"{CHAT}/sent")
    socket.take(1)
    assert [event for event, _ in socket.transport.sent] == [MESSAGE_SENT, NEW_MESSAGE]


def test_an_ack_is_confirmed_and_a_second_one_changes_nothing(socket: Socket) -> None:
    socket.take(1)
    socket.ack(1)
    socket.delivery.acked(socket.session, 1)
    assert socket.receipts.seqs == [1]


def test_an_ack_that_was_never_asked_for_confirms_nothing(socket: Socket) -> None:
    socket.take(1)
    socket.delivery.acked(socket.session, 99)
    assert socket.receipts.seqs == []


def test_what_was_acked_and_comes_again_is_confirmed_again(socket: Socket) -> None:
    socket.take(1)
    socket.ack(1)
    socket.take(1)
    assert socket.receipts.seqs == [1, 1]


def test_a_late_ack_takes_the_ones_behind_it_along(socket: Socket) -> None:
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
    assert socket.session.confirmed[CHAT].spans_from(1) == [(1, 1_000)]
    assert socket.session.seen[CHAT].spans_from(1) == [(1, 1_000)]


def test_what_was_read_counts_as_acked_as_far_as_it_was_emitted(socket: Socket) -> None:
    for seq in (1, 2, 4):
        socket.take(seq)
    socket.delivery.read(socket.session, CHAT, 9)
    assert socket.receipts.seqs == [1, 2, 4]
    assert socket.session.confirmed[CHAT].spans_from(1) == [(1, 2), (4, 4)]
