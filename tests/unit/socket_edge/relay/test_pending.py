import pytest

from infra.wire.errors import ErrorCode
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
