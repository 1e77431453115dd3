"""A session belongs to one sign-in: nothing it sends reaches a later sign-in."""

import msgspec
import pytest

from infra.wire.errors import ErrorCode, Failure
from infra.wire.events import ERROR, Ping
from infra.wire.inbox import Position
from socket_edge.chat import session as module
from socket_edge.chat.session import ConnectedUsers
from socket_edge.connection.api import DisconnectReason
from tests.unit.socket_edge.connections import Sent, connect, sign_in

PING = Ping(timestamp="2026-01-31T12:00:00.000Z")
FAILURE = Failure.of(ErrorCode.BUSY, client_id="mine")


async def test_a_session_sends_on_its_connection() -> None:
    connection, session = connect("bob")
    session.send("ping", PING, 7)
    session.send_ack(3, b'{"success":true}')
    assert connection.sent == [Sent("ping", {"timestamp": PING.timestamp}, 7)]
    assert connection.acks == [(3, {"success": True})]


async def test_a_later_sign_in_on_the_connection_gets_nothing_of_the_earlier_session() -> None:
    connection, earlier = connect("alice", socket_id="socket-1")
    sign_in(connection, "bob", socket_id="socket-2")
    earlier.send("ping", PING, 1)
    earlier.send_event("new_message", msgspec.Raw(b"{}"))
    earlier.send_ack(1, b"{}")
    earlier.fail(2, "send_message", FAILURE)
    earlier.end(DisconnectReason.TOKEN_EXPIRED)
    assert (connection.sent, connection.acks, connection.reason) == ([], [], None)


async def test_a_session_that_has_ended_sends_nothing() -> None:
    connection, session = connect("bob")
    session.end(DisconnectReason.TOKEN_EXPIRED)
    session.send("ping", PING)
    session.send_ack(1, b"{}")
    session.end(DisconnectReason.FLOOD)
    assert (connection.sent, connection.acks) == ([], [])
    assert connection.reason is DisconnectReason.TOKEN_EXPIRED


async def test_a_failure_goes_into_the_ack_and_into_an_error_event() -> None:
    connection, session = connect("bob")
    session.fail(5, "send_message", FAILURE)
    ((ack_id, ack),) = connection.acks
    assert (ack_id, ack["success"], ack["code"], ack["clientId"]) == (5, False, "busy", "mine")
    (error,) = connection.payloads(ERROR)
    assert (error["code"], error["event"], error["clientId"]) == ("busy", "send_message", "mine")


async def test_a_failure_without_an_ack_id_is_only_an_event() -> None:
    connection, session = connect("bob")
    session.fail(None, None, FAILURE)
    assert connection.acks == []
    assert "event" not in connection.payloads(ERROR)[0]


async def test_an_answer_that_nobody_asked_for_is_not_sent() -> None:
    connection, session = connect("bob")
    session.send_ack(None, b"{}")
    assert connection.acks == []


async def test_each_ack_id_is_new() -> None:
    connection, session = connect("bob")
    ack_ids = [
        connection.next_ack_id(),
        session.expect_ack(Position("chat", 1)),
        connection.next_ack_id(),
    ]
    assert len(set(ack_ids)) == 3
    assert session.unacked == {ack_ids[1]: Position("chat", 1)}


async def test_a_late_ack_for_the_earlier_session_confirms_nothing_of_the_next() -> None:
    connection, earlier = connect("alice", socket_id="socket-1")
    late = [earlier.expect_ack(Position("chat", seq)) for seq in (1, 2)]
    later = sign_in(connection, "bob", socket_id="socket-2")
    expected = [later.expect_ack(Position("other", seq)) for seq in (1, 2)]
    assert not set(late) & set(expected)
    assert set(later.unacked) == set(expected)


async def test_beyond_a_number_the_oldest_acks_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNACKED", 3)
    _, session = connect("bob")
    for seq in range(1, 6):
        session.expect_ack(Position("chat", seq))
    assert [position.seq for position in session.unacked.values()] == [3, 4, 5]


async def test_the_time_of_a_loss_is_taken_once() -> None:
    _, session = connect("bob")
    session.lost_since = 12.5
    assert [session.take_lost_since(), session.take_lost_since()] == [12.5, None]


async def test_a_user_is_connected_until_the_last_session_is_gone() -> None:
    users = ConnectedUsers()
    (_, one), (_, other), (_, somebody) = connect("bob"), connect("bob"), connect("carol")
    for session in (one, other, somebody):
        users.add(session)
    assert (list(users.of_user("bob")), set(users.user_ids()), len(users)) == (
        [one, other],
        {"bob", "carol"},
        3,
    )
    users.remove(one)
    assert "bob" in users
    users.remove(other)
    assert "bob" not in users
    assert (list(users), len(users), list(users.of_user("bob"))) == ([somebody], 1, [])


async def test_sessions_may_come_and_go_while_all_are_visited() -> None:
    users = ConnectedUsers()
    for _ in range(3):
        users.add(connect("bob")[1])
    for session in users:
        users.remove(session)
    for session in users.of_user("bob"):
        users.remove(session)
    assert len(users) == 0
