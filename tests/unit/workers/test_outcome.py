"""Handlers record the results of their requests in an outcome."""

import msgspec
import pytest

from infra.wire.commands import ListChats, SendMessage
from infra.wire.errors import ErrorCode, Failure, Rejection
from infra.wire.events import Done
from infra.wire.inbox import Position
from workers.outcome import Outcome
from workers.requests import Request

SEND = Request("1", "alice", "socket-1", SendMessage(username="bob", text="hi", client_id="c-1"))
LIST = Request("2", "alice", "socket-1", ListChats())


def test_a_success_carries_the_ack_and_what_it_settles() -> None:
    outcome = Outcome()
    outcome.succeed(SEND, Done(), acked_up_to=Position("chat", 7))
    (answer,) = outcome.answers
    assert (answer.id, msgspec.json.decode(answer.data), answer.failure) == ("1", {"success": True}, None)
    assert answer.acked_up_to == Position("chat", 7)


@pytest.mark.parametrize(("request_", "client_id"), [(SEND, "c-1"), (LIST, None)], ids=["send", "list"])
def test_a_rejection_carries_the_clients_own_id_if_it_gave_one(
    request_: Request[object], client_id: str | None
) -> None:
    outcome = Outcome()
    outcome.reject(request_, Rejection(ErrorCode.BUSY, "Too much.", retry_after_ms=5))
    (answer,) = outcome.answers
    assert answer.failure == Failure(ErrorCode.BUSY, "Too much.", client_id, 5)


def test_what_a_block_rejects_is_answered_and_the_next_request_goes_on() -> None:
    outcome, reached = Outcome(), []
    for request in (SEND, LIST):
        with outcome.rejections(request):
            if request is SEND:
                raise Rejection(ErrorCode.USER_NOT_FOUND)
            reached.append(request.id)
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
