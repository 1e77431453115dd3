"""Handlers record the results of their requests in an outcome."""

import msgspec
import pytest

from infra.wire.batch import Event
from infra.wire.errors import ErrorCode, Failure, Rejection
from infra.wire.events import Done
from infra.wire.inbox import Position
from workers.outcome import Outcome
from workers.requests import Request, decode


def request(id_: str, name: str, payload: bytes) -> Request[object]:
    return decode(Event(id_, name, "alice", "socket-1", msgspec.Raw(payload)))


SEND = request("1", "send_message", b'{"username":"bob","text":"hi","clientId":"c-1"}')
LIST = request("2", "list_chats", b"{}")
LIST_WITH_ID = request("3", "list_chats", b'{"clientId":"c-3"}')
NOT_DECODED = Event("4", "send_message", "alice", "socket-1", msgspec.Raw(b'{"text":5,"clientId":"c-4"}'))
NOT_AN_OBJECT = Event("5", "send_message", "alice", "socket-1", msgspec.Raw(b'"clientId"'))


def test_a_success_carries_the_ack_and_what_it_settles() -> None:
    outcome = Outcome()
    outcome.succeed(SEND, Done(), acked_up_to=Position("chat", 7))
    (answer,) = outcome.answers
    assert (answer.id, msgspec.json.decode(answer.data), answer.failure) == ("1", {"success": True}, None)
    assert answer.acked_up_to == Position("chat", 7)


@pytest.mark.parametrize(
    ("asked", "client_id"),
    [(SEND, "c-1"), (LIST, None), (LIST_WITH_ID, "c-3"), (NOT_DECODED, "c-4"), (NOT_AN_OBJECT, None)],
    ids=["send", "list", "list with id", "not decoded", "not an object"],
)
def test_a_rejection_carries_the_clients_own_id_if_it_gave_one(
    asked: Request[object] | Event, client_id: str | None
) -> None:
    outcome = Outcome()
    outcome.reject(asked, Rejection(ErrorCode.BUSY, "Too much.", retry_after_ms=5))
    (answer,) = outcome.answers
    assert answer.failure == Failure(ErrorCode.BUSY, "Too much.", client_id, 5)


def test_what_a_block_rejects_is_answered_and_the_next_request_goes_on() -> None:
    outcome, reached = Outcome(), []
    for asked in (SEND, LIST):
        with outcome.rejections(asked):
            if asked is SEND:
                raise Rejection(ErrorCode.USER_NOT_FOUND)
            reached.append(asked.id)
    assert reached == ["2"]
    (answer,) = outcome.answers
    assert answer.failure == Failure.of(ErrorCode.USER_NOT_FOUND, client_id="c-1")


def test_a_defect_in_a_block_is_not_swallowed() -> None:
    outcome = Outcome()
    with pytest.raises(ZeroDivisionError), outcome.rejections(SEND):
        _ = 1 / 0
    assert outcome.answers == []


def test_outcomes_are_joined_in_order() -> None:
    first, second = Outcome(), Outcome()
    first.succeed(SEND, Done())
    second.succeed(LIST, Done())
    second.emit("bob", "typing", Done(), skip="socket-1")
    first.extend(second)
    assert [answer.id for answer in first.answers] == ["1", "2"]
    (emit,) = first.emits
    assert [(target.user_id, target.event, target.ack, target.skip) for target in emit.to] == [
        ("bob", "typing", False, "socket-1")
    ]
