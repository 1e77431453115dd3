import pytest

from infra.wire.errors import ErrorCode, Failure
from infra.wire.inbox import Answer
from tests.unit.socket_edge.relay.pending import Asked


async def test_a_request_is_answered_exactly_once() -> None:
    asked = Asked()
    request = asked.request()
    asked.open.answer(Answer(request.id))
    asked.open.answer(Answer(request.id))
    asked.open.fail(request, ErrorCode.TIMEOUT)
    assert asked.codes(request) == [None]


async def test_an_answer_that_nobody_waits_for_is_ignored() -> None:
    asked = Asked()
    asked.open.answer(Answer("unknown"))
    assert len(asked.open) == 0


async def test_an_answered_request_is_no_longer_open() -> None:
    asked = Asked()
    request = asked.request()
    assert request in asked.open
    asked.open.answer(Answer(request.id))
    assert request not in asked.open


@pytest.mark.parametrize("is_repeated", [False, True])
@pytest.mark.parametrize(
    ("code", "is_for_now"),
    [
        (ErrorCode.INVALID_PAYLOAD, False),
        (ErrorCode.CHAT_NOT_FOUND, False),
        (ErrorCode.NOT_A_MEMBER, False),
        (ErrorCode.TOO_LATE, False),
        (ErrorCode.INTERNAL, False),
        (ErrorCode.USER_NOT_FOUND, True),
        (ErrorCode.PROFILE_MISSING, True),
        (ErrorCode.MESSAGE_NOT_FOUND, True),
        (ErrorCode.NOT_ALLOWED, True),
        (ErrorCode.USERNAME_TAKEN, True),
    ],
)
async def test_a_refusal_that_a_copy_may_contradict_leaves_the_client_in_doubt(
    code: ErrorCode, is_for_now: bool, is_repeated: bool
) -> None:
    asked = Asked()
    request = asked.request()
    request.is_repeated = is_repeated
    asked.open.answer(Answer(request.id, failure=Failure.of(code, client_id="mine")))
    (answer,) = asked.answers[request.id]
    assert answer.failure == Failure.of(
        ErrorCode.TIMEOUT if is_repeated and is_for_now else code, client_id="mine"
    )


async def test_what_succeeds_is_certain_however_often_it_was_sent() -> None:
    asked = Asked()
    request = asked.request()
    request.is_repeated = True
    asked.open.answer(Answer(request.id))
    assert asked.codes(request) == [None]


async def test_a_request_past_its_deadline_fails_with_the_trouble_of_its_lane() -> None:
    asked = Asked(deadline_s=0)
    silent, refused = asked.request(), asked.request()
    refused.trouble = lambda: ErrorCode.UNAVAILABLE
    asked.open.expire()
    assert asked.codes(silent) == [ErrorCode.TIMEOUT]
    assert asked.codes(refused) == [ErrorCode.UNAVAILABLE]


async def test_a_late_answer_changes_nothing() -> None:
    asked = Asked(deadline_s=0)
    request = asked.request()
    asked.open.expire()
    asked.open.answer(Answer(request.id))
    assert asked.codes(request) == [ErrorCode.TIMEOUT]


async def test_a_request_before_its_deadline_waits() -> None:
    asked = Asked()
    request = asked.request()
    asked.open.expire()
    assert asked.codes(request) == []


@pytest.mark.parametrize(
    ("payload", "client_id"),
    [
        (b'{"clientId":"mine","text":"hi"}', "mine"),
        (b'{"text":"hi"}', None),
        (b'{"clientId":5}', None),
        (b"[1]", None),
        (b"nonsense", None),
        (b"", None),
    ],
)
async def test_a_failure_names_the_clients_own_id_if_there_is_one(
    payload: bytes, client_id: str | None
) -> None:
    asked = Asked()
    request = asked.request(payload)
    asked.open.fail(request, ErrorCode.BUSY)
    ((answer,),) = asked.answers.values()
    assert answer.failure is not None
    assert answer.failure.client_id == client_id


async def test_requests_have_ids_that_sort_by_time() -> None:
    asked = Asked()
    ids = [asked.request().id for _ in range(1_000)]
    assert ids == sorted(set(ids))
