import re

import pytest

from infra.wire.errors import ErrorCode, Failure, Rejection
from infra.wire.events import error_ack, error_event

RETRYABLE = {"token_expired", "rate_limited", "busy", "timeout", "unavailable"}


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_a_sentence_for_people(code: ErrorCode) -> None:
    assert re.fullmatch(r"[A-Z].*\.", code.default_message)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_is_in_snake_case(code: ErrorCode) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)


def test_exactly_the_temporary_failures_are_retryable() -> None:
    assert {code for code in ErrorCode if code.retryable} == RETRYABLE


def test_no_two_codes_say_the_same() -> None:
    assert len({code.default_message for code in ErrorCode}) == len(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_ack_and_event_say_the_same(code: ErrorCode) -> None:
    failure = Failure.of(code, "Words of its own.", "c-1", 250)
    ack, event = error_ack(failure), error_event(failure, "sync")
    assert (ack.code, ack.error, ack.retryable, ack.client_id, ack.retry_after_ms, ack.success) == (
        event.code,
        event.message,
        event.retryable,
        event.client_id,
        event.retry_after_ms,
        False,
    )


@pytest.mark.parametrize("code", ErrorCode)
def test_a_rejection_says_by_default_what_its_code_says(code: ErrorCode) -> None:
    rejection = Rejection(code)
    assert (str(rejection), rejection.message) == (code.default_message, code.default_message)


def test_a_rejection_travels_with_the_clients_own_id() -> None:
    rejection = Rejection(ErrorCode.RATE_LIMITED, "Slow down.", retry_after_ms=250)
    assert rejection.failure("c-1") == Failure(ErrorCode.RATE_LIMITED, "Slow down.", "c-1", 250)
