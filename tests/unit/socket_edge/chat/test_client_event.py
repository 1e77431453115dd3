import json
import time

import pytest

from infra.wire.errors import ErrorCode
from socket_edge.limits.events import DEPTH, BadEvent, read_event
from socket_edge.packets import MALFORMED, Binary

LIMIT = 1_000


def refusal(data: object) -> tuple[ErrorCode, str | None]:
    with pytest.raises(BadEvent) as refused:
        read_event(data, LIMIT)
    return refused.value.code, refused.value.event


@pytest.mark.parametrize("payload", ["{}", '{"a": [1, 2]}', "[]", "null", '"text"', "5"])
def test_an_event_is_split_into_name_and_untouched_payload(payload: str) -> None:
    event = read_event(f'["send_message", {payload}]', LIMIT)
    assert (event.name, event.payload) == ("send_message", payload.encode())


def test_the_name_may_be_spelled_with_escapes() -> None:
    assert read_event('["\\u0073ync",{}]', LIMIT).name == "sync"


@pytest.mark.parametrize(
    "data", [Binary('["x"]'), MALFORMED, None, "", "{}", "null", "[]", "[5,{}]", "[null]", "[", '["a"']
)
def test_what_is_no_event_is_refused(data: object) -> None:
    assert refusal(data) == (ErrorCode.INVALID_PAYLOAD, None)


@pytest.mark.parametrize("name", ["dance", "catch_up", "connect", "disconnect", "", "Send_Message"])
def test_a_name_that_clients_may_not_send_is_unknown(name: str) -> None:
    assert refusal(json.dumps([name, {}])) == (ErrorCode.UNKNOWN_EVENT, None)


@pytest.mark.parametrize("data", ['["sync",{},{}]', '["sync",{},]', '["sync",{}'])
def test_more_than_one_payload_is_refused_by_the_name_of_the_event(data: str) -> None:
    assert refusal(data) == (ErrorCode.INVALID_PAYLOAD, "sync")


def test_an_event_without_a_payload_has_an_empty_one() -> None:
    assert read_event('["list_chats"]', LIMIT) == ("list_chats", b"{}")


def test_the_limit_counts_the_bytes_of_the_whole_event() -> None:
    fits = json.dumps(["sync", "ä" * 400], ensure_ascii=False)
    fits += " " * (LIMIT - len(fits.encode()))
    assert read_event(fits, LIMIT).name == "sync"
    assert refusal(f"{fits} ") == (ErrorCode.PAYLOAD_TOO_LARGE, "sync")


def test_an_event_is_too_large_before_it_is_anything_else() -> None:
    assert refusal('["dance",' + "[" * LIMIT) == (ErrorCode.PAYLOAD_TOO_LARGE, None)


def nested(depth: int) -> str:
    """Return an event that is `depth` deep, its own list included."""
    return '["sync",' + "[" * (depth - 1) + "]" * (depth - 1) + "]"


def test_nesting_up_to_the_limit_is_allowed() -> None:
    assert read_event(nested(DEPTH), LIMIT).name == "sync"


@pytest.mark.parametrize("data", [nested(DEPTH + 1), '["sync",' + '{"a":' * DEPTH + "1" + "}" * DEPTH + "]"])
def test_nesting_beyond_the_limit_is_refused(data: str) -> None:
    assert refusal(data) == (ErrorCode.INVALID_PAYLOAD, "sync")


@pytest.mark.parametrize("text", ["[" * 100, '["' * 100, "\\" * 101 + "[" * 100, '\\"[' * 50])
def test_brackets_inside_a_text_are_no_nesting(text: str) -> None:
    assert read_event(json.dumps(["sync", {text: [text]}]), LIMIT).name == "sync"


def test_a_text_without_an_end_is_read_once() -> None:
    endless = '["sync",' + "[]," * DEPTH + '"' + '\\"' * 400_000
    began_at = time.monotonic()
    with pytest.raises(BadEvent):
        read_event(endless, 1_000_000)
    # Tried anew at each quote, it would take minutes.
    assert time.monotonic() - began_at < 1


def test_many_brackets_side_by_side_are_no_nesting() -> None:
    assert read_event(json.dumps(["sync", [[]] * 100]), LIMIT).name == "sync"
