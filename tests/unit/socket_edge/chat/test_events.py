"""A client's events: refused, relayed, answered, each to the sign-in that asked."""

import asyncio
import json
from dataclasses import replace
from typing import Any, cast

import pytest

from infra.wire.errors import ErrorCode
from infra.wire.events import ERROR
from infra.wire.inbox import Position
from infra.wire.registry import CLIENT_COMMANDS, INTRODUCE
from socket_edge.auth import Identity
from socket_edge.auth.refusal_log import RefusalLog
from socket_edge.chat import events as module
from socket_edge.chat.events import ClientEvents
from socket_edge.chat.session import Session
from socket_edge.connection.api import Binary, DisconnectReason, EventData
from socket_edge.limits.token_bucket import TokenBucket
from socket_edge.limits.users import UserLimiter
from tests.unit.socket_edge.chat.authenticators import RETRY_AFTER_MS, FakeAuthenticator
from tests.unit.socket_edge.connections import FAR_FUTURE, connect, sign_in
from tests.unit.socket_edge.relay.recording import RecordingLanes

PAYLOAD_BYTES = 1_000
SEND = '["send_message",{"username":"carol","text":"hi","clientId":"mine"}]'
TYPING = '["typing",{"isTyping":true,"username":"carol"}]'


class RecordingDelivery:
    def __init__(self) -> None:
        self.settled: list[tuple[Session, Position]] = []

    def ack_up_to(self, session: Session, position: Position) -> None:
        self.settled.append((session, position))


class Chat:
    """Client events, with one user who is signed in."""

    def __init__(self, burst: int = 100, burst_bytes: int = 0) -> None:
        self.authenticator = FakeAuthenticator()
        self.lanes, self.delivery = RecordingLanes(), RecordingDelivery()
        unlimited = TokenBucket(0, 1)
        size = TokenBucket(0.001, burst_bytes) if burst_bytes else unlimited
        limiter = UserLimiter(TokenBucket(0.001, burst), size, unlimited)
        self.refusals = RefusalLog()
        self.events = ClientEvents(
            self.authenticator,
            limiter,
            cast(Any, self.lanes),
            cast(Any, self.delivery),
            PAYLOAD_BYTES,
            self.refusals,
        )
        self.connection, self.session = connect("bob", lane=3)
        self.session.has_profile = True

    def take(self, data: EventData, ack_id: int | None = None, size: int = 100) -> None:
        """Take an event that needs no waiting."""
        assert self.events.take(self.session, ack_id, data, size) is None

    async def refresh(self, payload: object, ack_id: int | None = 1) -> None:
        work = self.events.take(self.session, ack_id, json.dumps(["refresh_token", payload]), 100)
        assert work is not None
        await work

    def errors(self) -> list[tuple[str, str | None]]:
        """Return the code and the event of each error that the client was sent."""
        return [(error["code"], error.get("event")) for error in self.connection.payloads(ERROR)]


@pytest.fixture
def chat() -> Chat:
    return Chat()


async def test_an_event_is_relayed_in_the_lane_of_its_session_and_answered(chat: Chat) -> None:
    chat.take(SEND, 7)
    (relayed,) = chat.lanes.relayed
    assert (relayed.lane, relayed.name, relayed.user_id, relayed.socket_id, relayed.expires) == (
        *(3, "send_message", "bob", "socket-1"),
        True,
    )
    assert relayed.payload == {"username": "carol", "text": "hi", "clientId": "mine"}
    assert chat.session.unanswered == 1
    relayed.answer({"success": True})
    assert chat.connection.acks == [(7, {"success": True})]
    assert chat.session.unanswered == 0


async def test_first_events_wait_until_their_socket_is_registered(chat: Chat) -> None:
    registering = chat.session.registering = asyncio.get_running_loop().create_future()
    work = chat.events.take(chat.session, 7, SEND, 100)
    assert work is not None
    relaying = asyncio.create_task(work)
    await asyncio.sleep(0)
    assert (chat.lanes.relayed, chat.session.unanswered) == ([], 1)
    registering.set_result(None)
    await relaying
    assert (chat.lanes.names(), chat.session.unanswered) == (["send_message"], 1)
    chat.take(SEND, 8)


async def test_only_the_first_event_waits_while_redis_is_down(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REGISTERED_S", 0.01)
    chat.session.registering = asyncio.get_running_loop().create_future()
    work = chat.events.take(chat.session, 7, SEND, 100)
    assert work is not None
    await work
    chat.take(SEND, 8)
    for relayed in chat.lanes.relayed:
        relayed.fail(ErrorCode.UNAVAILABLE)
    assert chat.errors() == [("unavailable", "send_message")] * 2


async def test_an_event_without_an_ack_id_is_not_answered(chat: Chat) -> None:
    chat.take(SEND)
    chat.lanes.relayed[0].answer({"success": True})
    assert (chat.connection.acks, chat.connection.sent) == ([], [])


async def test_a_failure_is_reported_in_the_ack_and_as_an_error(chat: Chat) -> None:
    chat.take(SEND, 7)
    chat.lanes.relayed[0].fail(ErrorCode.USER_NOT_FOUND)
    ((ack_id, ack),) = chat.connection.acks
    assert (ack_id, ack["success"], ack["code"]) == (7, False, "user_not_found")
    assert chat.errors() == [("user_not_found", "send_message")]


async def test_a_later_sign_in_does_not_get_the_answer(chat: Chat) -> None:
    chat.take(SEND, 7)
    chat.take(SEND, 8)
    answered, failed = chat.lanes.relayed
    sign_in(chat.connection, "carol", socket_id="socket-2")
    answered.answer({"success": True})
    failed.fail(ErrorCode.TIMEOUT)
    assert (chat.connection.acks, chat.connection.sent) == ([], [])


@pytest.mark.parametrize(
    ("data", "code", "event"),
    [
        ('["dance",{}]', "unknown_event", None),
        ('["catch_up",{}]', "unknown_event", None),
        ('["sync",{},{}]', "invalid_payload", "sync"),
        (f'["sync","{"x" * PAYLOAD_BYTES}"]', "payload_too_large", "sync"),
        (Binary('["sync",{}]'), "invalid_payload", "sync"),
    ],
    ids=["unknown", "internal", "payloads", "large", "binary"],
)
async def test_an_event_that_is_wrong_is_refused_and_not_relayed(
    chat: Chat, data: EventData, code: str, event: str | None
) -> None:
    chat.take(data, 5)
    assert chat.errors() == [(code, event)]
    assert [(ack_id, ack["code"]) for ack_id, ack in chat.connection.acks] == [(5, code)]
    assert chat.lanes.relayed == []
    assert chat.connection.reason is None


@pytest.mark.parametrize(
    ("data", "event"), [("{}", None), ('["sync",{', "sync"), ('["sync",{}] and more', "sync"), ("", None)]
)
async def test_what_is_no_event_is_refused_and_ends_the_connection(
    chat: Chat, data: EventData, event: str | None
) -> None:
    chat.take(data, 5)
    assert chat.errors() == [("invalid_payload", event)]
    assert [(ack_id, ack["code"]) for ack_id, ack in chat.connection.acks] == [(5, "invalid_payload")]
    assert chat.lanes.relayed == []
    assert chat.connection.reason is DisconnectReason.PROTOCOL_ERROR


async def test_an_event_above_the_limit_is_refused_with_the_time_to_wait() -> None:
    chat = Chat(burst=1)
    chat.take(SEND)
    chat.take(SEND, 9)
    ((_, ack),) = chat.connection.acks
    assert ack["code"] == "rate_limited"
    assert ack["retryAfterMs"] > 0
    assert len(chat.lanes.relayed) == 1


async def test_an_ephemeral_event_above_the_limit_is_dropped_silently() -> None:
    chat = Chat(burst=1)
    chat.take(SEND)
    chat.take(TYPING, 9)
    assert (chat.connection.acks, chat.connection.sent, chat.connection.reason) == ([], [], None)


@pytest.mark.parametrize("data", [SEND, TYPING, "{}"], ids=["send", "typing", "malformed"])
async def test_a_client_that_keeps_sending_far_above_the_limit_is_cut_off(data: EventData) -> None:
    chat = Chat(burst=1)
    chat.take(SEND)
    for _ in range(10):
        chat.take(data)
    assert chat.connection.reason is None
    chat.take(data)
    assert chat.connection.reason is DisconnectReason.FLOOD


@pytest.mark.parametrize("data", [SEND, Binary(SEND), '["x"]'], ids=["send", "binary", "unknown"])
async def test_the_bytes_that_were_sent_for_an_event_are_limited_whatever_is_left_of_it(
    data: EventData,
) -> None:
    chat = Chat(burst_bytes=1_000_000)
    chat.take(data, size=900_000)
    refused_before = len(chat.connection.sent)
    chat.take(data, size=900_000)
    assert [code for code, _ in chat.errors()][refused_before:] == ["rate_limited"]
    for _ in range(10):
        chat.take(data, size=900_000)
    assert chat.connection.reason is None
    chat.take(data, size=900_000)
    assert chat.connection.reason is DisconnectReason.FLOOD


async def test_an_ephemeral_event_that_a_busy_lane_drops_fails_silently(chat: Chat) -> None:
    chat.take(TYPING, 9)
    chat.lanes.relayed[0].fail(ErrorCode.BUSY)
    assert (chat.connection.acks, chat.connection.sent) == ([], [])


async def test_an_ephemeral_event_that_fails_otherwise_is_reported(chat: Chat) -> None:
    chat.take(TYPING, 9)
    chat.lanes.relayed[0].fail(ErrorCode.NOT_A_MEMBER)
    assert chat.errors() == [("not_a_member", "typing")]


async def test_a_profile_is_ensured_once_and_before_the_first_event(chat: Chat) -> None:
    chat.session.identity = Identity("bob", FAR_FUTURE, "bob")
    chat.session.has_profile = False
    chat.take(SEND)
    chat.take(SEND)
    assert chat.lanes.names() == [INTRODUCE, "send_message", "send_message"]
    ensured = chat.lanes.relayed[0]
    assert (ensured.lane, ensured.payload, ensured.expires) == (
        3,
        {"username": "bob", "issuedAt": None},
        False,
    )


@pytest.mark.parametrize("code", [ErrorCode.BUSY, ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE])
async def test_a_profile_that_could_not_be_ensured_is_ensured_before_the_next_event(
    chat: Chat, code: ErrorCode
) -> None:
    chat.session.has_profile = False
    chat.take(SEND)
    chat.lanes.relayed[0].fail(code)
    chat.take(SEND)
    assert chat.lanes.names() == [INTRODUCE, "send_message"] * 2
    chat.lanes.relayed[2].answer({})
    chat.take(SEND)
    assert chat.lanes.names()[4:] == ["send_message"]


async def test_a_user_who_can_have_no_profile_is_not_introduced_with_each_event(chat: Chat) -> None:
    chat.session.has_profile = False
    chat.take(SEND)
    chat.lanes.relayed[0].fail(ErrorCode.PROFILE_MISSING)
    chat.take(SEND)
    assert chat.lanes.names() == [INTRODUCE, "send_message", "send_message"]


async def test_an_answer_that_settles_messages_settles_them_for_the_socket_that_asked(chat: Chat) -> None:
    chat.take('["mark_as_read",{"chatId":"c"}]', 1)
    chat.lanes.relayed[0].answer({"success": True}, acked_up_to=Position("c", 7))
    assert chat.delivery.settled == [(chat.session, Position("c", 7))]


async def test_a_leaving_session_ends_with_its_last_answer(chat: Chat) -> None:
    chat.take(SEND, 1)
    chat.take(SEND, 2)
    chat.session.is_leaving = True
    first, second = chat.lanes.relayed
    first.answer({})
    assert chat.connection.reason is None
    second.fail(ErrorCode.TIMEOUT)
    assert chat.connection.reason is DisconnectReason.SERVER_SHUTDOWN
    assert [ack_id for ack_id, _ in chat.connection.acks] == [1, 2]


async def test_a_refreshed_token_replaces_the_identity(chat: Chat) -> None:
    chat.session.identity, chat.session.is_warned = Identity("bob", FAR_FUTURE - 2), True
    await chat.refresh({"token": f"bob:{FAR_FUTURE - 1}"})
    assert (chat.session.identity.expires_at, chat.session.is_warned) == (FAR_FUTURE - 1, False)
    ((_, ack),) = chat.connection.acks
    assert ack["success"]
    assert ack["expiresAt"].startswith("2096-")


async def test_the_name_in_a_refreshed_token_reaches_a_worker_at_once(chat: Chat) -> None:
    chat.take(SEND, 1)
    await chat.refresh({"token": f"bob:{FAR_FUTURE - 1}"})
    assert chat.lanes.names() == ["send_message", INTRODUCE]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"token": "bad"}, "unauthorized"),
        ({"token": "carol"}, "unauthorized"),
        ({"token": 5}, "invalid_payload"),
        ({}, "invalid_payload"),
        ([], "invalid_payload"),
    ],
)
async def test_a_token_that_is_refused_leaves_the_identity_as_it_was(
    chat: Chat, payload: object, code: str
) -> None:
    before = chat.session.identity
    await chat.refresh(payload)
    assert chat.session.identity == before
    assert chat.errors() == [(code, "refresh_token")]
    assert chat.refusals.counts.total() == 1


async def test_a_token_that_cannot_be_checked_yet_is_worth_another_try(chat: Chat) -> None:
    before = chat.session.identity
    await chat.refresh({"token": "unknown"})
    assert chat.session.identity == before
    ((_, ack),) = chat.connection.acks
    for answer in (ack, *chat.connection.payloads(ERROR)):
        assert (answer["code"], answer["retryAfterMs"]) == ("unavailable", RETRY_AFTER_MS)
    assert chat.errors() == [("unavailable", "refresh_token")]


@pytest.mark.parametrize("later_s", [0, -5])
async def test_a_token_that_lives_no_longer_does_not_start_the_warning_again(
    chat: Chat, later_s: int
) -> None:
    chat.session.is_warned = True
    expires_at = chat.session.identity.expires_at + later_s
    await chat.refresh({"token": f"bob:{expires_at}"})
    assert (chat.session.identity.expires_at, chat.session.is_warned) == (expires_at, True)


async def test_the_edge_has_a_handler_for_each_command_that_it_answers_itself(chat: Chat) -> None:
    answered = {name for name, command in CLIENT_COMMANDS.items() if command.is_answered_by_edge}
    assert chat.events.edge_handlers.keys() == answered


async def test_another_command_that_the_edge_answers_goes_to_its_own_handler(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[Session, int | None, bytes]] = []

    async def handle(session: Session, ack_id: int | None, payload: bytes) -> None:
        taken.append((session, ack_id, payload))

    monkeypatch.setitem(CLIENT_COMMANDS, "sync", replace(CLIENT_COMMANDS["sync"], is_answered_by_edge=True))
    chat.events.edge_handlers["sync"] = handle
    work = chat.events.take(chat.session, 5, '["sync",{"token":"bob"}]', 100)
    assert work is not None
    await work
    assert taken == [(chat.session, 5, b'{"token":"bob"}')]
    assert (chat.connection.acks, chat.lanes.relayed) == ([], [])


async def test_a_late_answer_to_a_refresh_reaches_nobody_else(chat: Chat) -> None:
    chat.authenticator.is_up.clear()
    work = chat.events.take(chat.session, 1, '["refresh_token",{"token":"bob"}]', 100)
    assert work is not None
    sign_in(chat.connection, "carol", socket_id="socket-2")
    chat.authenticator.is_up.set()
    await work
    assert (chat.connection.acks, chat.connection.sent) == ([], [])
