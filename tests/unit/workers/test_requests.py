"""Events become typed requests, or answers that say why not."""

import msgspec
import pytest

from infra.wire.batch import Event
from infra.wire.commands import SendMessage
from infra.wire.errors import ErrorCode, Failure, Rejection
from workers.batch_processor import decode_batch
from workers.outcome import Outcome
from workers.requests import decode


def event(event_id: str, name: str, payload: bytes) -> Event:
    return Event(event_id, name, "alice", "socket-1", msgspec.Raw(payload))


def test_a_payload_becomes_its_command() -> None:
    request = decode(event("1", "send_message", b'{"username":"bob","text":"hi"}'))
    assert (request.id, request.user_id, request.socket_id) == ("1", "alice", "socket-1")
    assert request.command == SendMessage(username="bob", text="hi")


@pytest.mark.parametrize("name", ["dance", "refresh_token", ""])
def test_a_command_that_workers_do_not_handle_is_unknown(name: str) -> None:
    with pytest.raises(Rejection) as rejection:
        decode(event("1", name, b"{}"))
    assert rejection.value.code is ErrorCode.UNKNOWN_EVENT


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (
            b'{"username":5,"text":"hi"}',
            "Invalid payload: Expected `str | null`, got `int` - at `$.username`.",
        ),
        (b'{"x":' + b"[" * 1_000_000, "Invalid payload: it is nested too deep."),
        (b'{"username":"\xff","text":"hi"}', "Invalid payload: it holds text that is not valid Unicode."),
    ],
    ids=["wrong type", "too deep", "no Unicode"],
)
def test_a_payload_that_cannot_be_decoded_is_rejected_with_a_sentence(payload: bytes, message: str) -> None:
    with pytest.raises(Rejection) as rejection:
        decode(event("1", "send_message", payload))
    assert (rejection.value.code, rejection.value.message) == (ErrorCode.INVALID_PAYLOAD, message)


def test_a_batch_is_sorted_by_command_and_its_bad_events_are_answered() -> None:
    rejected = Outcome()
    requests = decode_batch(
        [
            event("1", "list_chats", b"{}"),
            event("2", "dance", b'{"clientId":"c-2"}'),
            event("3", "sync", b'{"cursors":{}}'),
            event("4", "list_chats", b"{}"),
        ],
        rejected,
    )
    ids = {name: [request.id for request in some] for name, some in requests.items()}
    assert ids == {"list_chats": ["1", "4"], "sync": ["3"]}
    assert [(answer.id, answer.failure) for answer in rejected.answers] == [
        ("2", Failure.of(ErrorCode.UNKNOWN_EVENT, client_id="c-2"))
    ]
