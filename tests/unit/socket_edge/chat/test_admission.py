"""Signing in: who may, what a client then receives, and what its peers are told."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest

from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import CONNECTION_SUCCESS, ERROR, TEST_MESSAGE
from infra.wire.registry import ANNOUNCE
from socket_edge.auth.refusal_log import RefusalLog
from socket_edge.auth.rejections import RefusalReason
from socket_edge.chat import admission as module
from socket_edge.chat.admission import Admission
from socket_edge.chat.session import ConnectedUsers, Session
from socket_edge.connection.api import DisconnectReason
from socket_edge.limits.origins import Origins
from socket_edge.limits.token_bucket import TokenBucket
from socket_edge.limits.users import UserLimiter
from socket_edge.tasks import Tasks
from tests.harness.waiting import PATIENCE_S, until
from tests.unit.socket_edge.chat.authenticators import FakeAuthenticator
from tests.unit.socket_edge.connections import FakeConnection
from tests.unit.socket_edge.relay.recording import RecordingLanes

FOREIGN = "https://evil.example"


class RecordingPresence:
    """Registers when the test lets it."""

    def __init__(self) -> None:
        self.registered: list[str] = []
        self.may_register = asyncio.Event()
        self.may_register.set()

    async def register(self, user_id: str) -> None:
        await self.may_register.wait()
        self.registered.append(user_id)


class AnsweringLanes(RecordingLanes):
    """Has each announcement answered at once: with the next of these failures, if there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[ErrorCode] = []
        self.do_answer = True

    def relay(self, *arguments: Any, **named: Any) -> None:
        super().relay(*arguments, **named)
        if self.failures:
            self.relayed[-1].fail(self.failures.pop(0))
        elif self.do_answer:
            self.relayed[-1].answer({})


class RecordingCatchUps:
    def __init__(self, lanes: RecordingLanes) -> None:
        self.sessions: list[Session] = []
        self.relayed_before: list[list[str]] = []
        self._lanes = lanes

    async def run(self, session: Session) -> None:
        self.sessions.append(session)
        self.relayed_before.append(self._lanes.names())


class Door:
    """Admission, with everything behind it."""

    def __init__(self, sockets_per_user: int = 0, sign_ins: int = 100) -> None:
        unlimited = TokenBucket(0, 1)
        self.users, self.tasks = ConnectedUsers(), Tasks()
        self.lanes, self.presence = AnsweringLanes(), RecordingPresence()
        self.catch_ups = RecordingCatchUps(self.lanes)
        self.refusals = RefusalLog()
        self.admission = Admission(
            FakeAuthenticator(),
            Origins(()),
            UserLimiter(unlimited, unlimited, TokenBucket(0.001, sign_ins)),
            self.users,
            cast(Any, self.presence),
            cast(Any, self.lanes),
            cast(Any, self.catch_ups),
            self.tasks,
            sockets_per_user,
            self.refusals,
        )

    async def admit(self, token: str, socket_id: str = "socket-1") -> tuple[FakeConnection, Session]:
        """Admit a client."""
        connection = FakeConnection()
        connection.socket_id, connection.signed_out = socket_id, self.admission.leave
        session = await self.admission.admit(connection, json.dumps({"token": token}))
        connection.sign_in(session)
        return connection, session

    async def arrive(self, token: str, socket_id: str = "socket-1") -> tuple[FakeConnection, Session]:
        """Admit and welcome a client; return once it has caught up."""
        connection, session = await self.admit(token, socket_id)
        self.admission.welcome(session)
        await self.tasks.wait()
        return connection, session


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    yield door
    await door.tasks.wait()


async def refusal(door: Door, auth: str | None, origin: str = "") -> ErrorCode:
    connection = FakeConnection()
    connection.origin = origin
    with pytest.raises(Rejection) as rejection:
        await door.admission.admit(connection, auth)
    return rejection.value.code


@pytest.mark.parametrize(
    "auth",
    [None, "", "{}", "[]", "null", '"token"', '{"token":5}', '{"token":"bad"}', "{", "[" * 100_000],
    ids=lambda auth: str(auth)[:20],
)
async def test_a_client_without_a_valid_token_is_refused(door: Door, auth: str | None) -> None:
    assert await refusal(door, auth) is ErrorCode.UNAUTHORIZED
    assert door.refusals.counts == {RefusalReason.MALFORMED: 1}


async def test_a_foreign_origin_is_refused_before_its_token_is_checked(door: Door) -> None:
    assert await refusal(door, '{"token":"bad"}', FOREIGN) is ErrorCode.FORBIDDEN_ORIGIN
    assert door.refusals.counts == {RefusalReason.ORIGIN: 1}


async def test_too_many_sign_ins_of_a_user_are_refused() -> None:
    door = Door(sign_ins=1)
    await door.admit("bob")
    assert await refusal(door, '{"token":"bob"}') is ErrorCode.RATE_LIMITED
    await door.admit("carol")


async def test_a_session_knows_its_socket_its_user_and_its_lane(door: Door) -> None:
    (_, first), (_, second) = await door.admit("bob", "socket-1"), await door.admit("bob", "socket-2")
    assert (first.socket_id, first.user_id) == ("socket-1", "bob")
    assert (first.lane, second.lane) == (1, 2)


async def test_a_client_is_greeted_before_anything_else(door: Door) -> None:
    connection, session = await door.arrive("bob")
    assert connection.names() == [CONNECTION_SUCCESS, TEST_MESSAGE]
    hello, test = connection.sent
    assert (hello.payload["userId"], hello.payload["socketId"]) == ("bob", session.socket_id)
    assert (hello.payload["username"], hello.payload["expiresAt"]) == (
        "name-of-bob",
        "2096-10-02T07:06:40.000Z",
    )
    assert (hello.ack_id, test.ack_id) == (None, 1)


async def test_a_client_is_registered_before_it_catches_up(door: Door) -> None:
    door.presence.may_register.clear()
    _, session = await door.admit("bob")
    door.admission.welcome(session)
    await asyncio.sleep(0)
    assert (door.catch_ups.sessions, door.lanes.names()) == ([], [])
    registering = session.registering
    assert registering is not None
    assert not registering.done()
    door.presence.may_register.set()
    await door.tasks.wait()
    assert (registering.done(), session.registering) == (True, None)
    assert door.catch_ups.sessions == [session]
    assert door.catch_ups.relayed_before == [[ANNOUNCE]]


async def test_peers_are_told_of_the_first_and_the_last_socket_of_a_user(door: Door) -> None:
    first, _ = await door.arrive("bob", "socket-1")
    second, _ = await door.arrive("bob", "socket-2")
    assert door.lanes.names() == [ANNOUNCE]
    first.end(DisconnectReason.CLIENT_DISCONNECT)
    await door.tasks.wait()
    assert door.lanes.names() == [ANNOUNCE]
    second.end(DisconnectReason.CLIENT_DISCONNECT)
    await door.tasks.wait()
    assert door.lanes.names() == [ANNOUNCE] * 2
    assert not door.lanes.relayed[1].expires
    assert door.presence.registered == ["bob"] * 4
    assert len(door.users) == 0


async def test_a_client_that_leaves_while_it_catches_up_stops_catching_up(door: Door) -> None:
    door.presence.may_register.clear()
    connection, session = await door.admit("bob")
    door.admission.welcome(session)
    await asyncio.sleep(0)
    catching_up, registering = session.catching_up, session.registering
    connection.end(DisconnectReason.TRANSPORT_CLOSED)
    door.presence.may_register.set()
    await door.tasks.wait()
    assert catching_up is not None
    assert catching_up.cancelled()
    assert registering is not None
    assert registering.done()
    assert door.catch_ups.sessions == []
    assert set(door.presence.registered) == {"bob"}


async def test_peers_are_told_although_the_first_socket_left_before_that(door: Door) -> None:
    door.presence.may_register.clear()
    (first, first_session), (_, second_session) = await door.admit("bob", "1"), await door.admit("bob", "2")
    door.admission.welcome(first_session)
    door.admission.welcome(second_session)
    first.end(DisconnectReason.TRANSPORT_CLOSED)
    door.presence.may_register.set()
    await door.tasks.wait()
    assert door.lanes.names() == [ANNOUNCE]


async def test_workers_are_asked_again_to_announce_a_user(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.001)
    door.lanes.failures = [ErrorCode.BUSY, ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT]
    await door.arrive("bob")
    assert door.lanes.names() == [ANNOUNCE] * 4
    assert set(door.admission.unannounced) == set()


async def test_a_user_whose_peers_are_not_told_yet_is_known(door: Door) -> None:
    connection, _ = await door.arrive("bob")
    door.lanes.do_answer = False
    connection.end(DisconnectReason.SERVER_SHUTDOWN)
    async with asyncio.timeout(PATIENCE_S):
        while len(door.lanes.relayed) < 2:
            await asyncio.sleep(0)
    assert set(door.admission.unannounced) == {"bob"}
    door.lanes.relayed[-1].answer({})
    await door.tasks.wait()
    assert set(door.admission.unannounced) == set()


async def test_a_leave_is_still_to_be_told_when_the_join_before_it_has_been(door: Door) -> None:
    door.lanes.do_answer = False
    connection, session = await door.admit("bob", "1")
    door.admission.welcome(session)
    await until(lambda: len(door.lanes.of(ANNOUNCE)) == 1, "the join is under way")
    connection.end(DisconnectReason.CLIENT_DISCONNECT)
    await until(lambda: len(door.lanes.of(ANNOUNCE)) == 2, "the leave is under way")
    join, leave = door.lanes.of(ANNOUNCE)
    join.answer({})
    await asyncio.sleep(0)
    assert set(door.admission.unannounced) == {"bob"}
    leave.answer({})
    await door.tasks.wait()
    assert set(door.admission.unannounced) == set()


class Unwalkable(Counter[str]):
    """Cannot be walked through, which takes the longer the more users there are."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("looked at all users")

    def items(self) -> Any:
        raise AssertionError("looked at all users")


async def test_an_announcement_costs_the_same_however_many_others_are_under_way(door: Door) -> None:
    door.admission.unannounced = Unwalkable()
    await door.arrive("bob")
    assert len(door.admission.unannounced) == 0


async def test_one_socket_too_many_ends_the_oldest_of_the_user() -> None:
    door = Door(sockets_per_user=2)
    oldest, _ = await door.arrive("bob", "socket-1")
    newer, _ = await door.arrive("bob", "socket-2")
    other, _ = await door.arrive("carol", "socket-3")
    newest, _ = await door.arrive("bob", "socket-4")
    assert oldest.reason is DisconnectReason.TOO_MANY_SOCKETS
    assert oldest.payloads(ERROR)[0]["code"] == "rate_limited"
    assert [one.reason for one in (newer, other, newest)] == [None, None, None]
    assert newest.names() == [CONNECTION_SUCCESS, TEST_MESSAGE]
    assert len(door.users) == 3


async def test_without_a_limit_a_user_may_have_any_number_of_sockets(door: Door) -> None:
    arrived = [await door.arrive("bob", f"socket-{number}") for number in range(50)]
    assert {connection.reason for connection, _ in arrived} == {None}
