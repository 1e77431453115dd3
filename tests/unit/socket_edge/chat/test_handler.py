"""The handler: each report of a connection reaches the right part of the chat."""

from typing import Any, cast

from infra.wire.inbox import Position
from socket_edge.chat.handler import ChatHandler
from socket_edge.chat.session import Session
from socket_edge.connection.api import DisconnectReason, Handler
from socket_edge.limits.token_bucket import TokenBucket
from socket_edge.limits.users import UserLimiter
from tests.unit.socket_edge.connections import FakeConnection, connect


class Recorder:
    """Takes the place of admission, events and delivery."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def admit(self, *arguments: Any) -> str:
        self.calls.append(("admit", *arguments))
        return "the session"

    def welcome(self, session: Session) -> None:
        self.calls.append(("welcome", session))

    def leave(self, session: Session, reason: DisconnectReason) -> None:
        self.calls.append(("leave", session, reason))

    def take(self, *arguments: Any) -> None:
        self.calls.append(("take", *arguments))

    def acked(self, session: Session, ack_id: int) -> None:
        self.calls.append(("acked", session, ack_id))


def make(allowed: int = 1_000) -> tuple[Handler, Recorder]:
    recorder = cast(Any, Recorder())
    unlimited = TokenBucket(0, 1)
    limiter = UserLimiter(TokenBucket(0.001, allowed), unlimited, unlimited)
    return ChatHandler(recorder, recorder, recorder, limiter), recorder


async def test_each_report_goes_to_the_part_that_takes_it() -> None:
    handler, recorder = make()
    connection, session = connect("bob")
    assert await handler.admit(connection, "auth") == "the session"
    handler.signed_in(connection)
    assert handler.event(connection, 7, "[]", 4) is None
    handler.acked(connection, 3)
    handler.signed_out(connection, session, DisconnectReason.FLOOD)
    assert recorder.calls == [
        ("admit", connection, "auth"),
        ("welcome", session),
        ("take", session, 7, "[]", 4),
        ("acked", session, 3),
        ("leave", session, DisconnectReason.FLOOD),
    ]


async def test_the_ack_of_a_ping_settles_the_ping() -> None:
    handler, _ = make()
    connection, session = connect("bob")
    session.ping = (4, 0.0)
    session.unacked[3] = Position("chat", 1)
    handler.acked(connection, 3)
    assert session.ping == (4, 0.0)
    handler.acked(connection, 4)
    assert session.ping is None


async def test_all_sockets_of_a_user_share_one_allowance() -> None:
    handler, _ = make(allowed=1)
    (first, _), (second, _) = connect("bob", socket_id="s1"), connect("bob", socket_id="s2")
    assert [handler.allows(one, 1) for _ in range(5) for one in (first, second)] == [True] * 10
    assert not handler.allows(first, 1)


async def test_a_stranger_has_an_allowance_of_each_connection() -> None:
    handler, _ = make(allowed=1)
    first, second = FakeConnection("one"), FakeConnection("other")
    for _ in range(10):
        assert handler.allows(first, 1)
    assert not handler.allows(first, 1)
    assert handler.allows(second, 1)


async def test_on_shutdown_an_idle_session_ends_at_once() -> None:
    handler, _ = make()
    connection, _ = connect("bob")
    handler.shutting_down(connection)
    assert connection.reason is DisconnectReason.SERVER_SHUTDOWN


async def test_on_shutdown_a_session_stays_until_its_requests_are_answered() -> None:
    handler, _ = make()
    connection, session = connect("bob")
    session.unanswered = 1
    handler.shutting_down(connection)
    assert (connection.reason, session.is_leaving) == (None, True)
