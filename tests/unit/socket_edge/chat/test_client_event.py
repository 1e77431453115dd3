import json
import time

import pytest

from infra.wire.errors import ErrorCode, Rejection
from socket_edge.chat.client_event import MalformedEvent, known_name, read_event
from socket_edge.connection.api import Binary, EventData
from socket_edge.json_text import DEPTH

LIMIT = 1_000


def refusal(data: EventData) -> tuple[ErrorCode, str | None]:
    """Return the code of a refused event, and the name by which the client is told."""
    with pytest.raises(Rejection) as rejection:
        read_event(data, LIMIT)
    return rejection.value.code, known_name(data)


@pytest.mark.parametrize("payload", ["{}", '{"a": [1, 2]}', "[]", "null", '"text"', "5"])
def test_an_event_is_split_into_name_and_untouched_payload(payload: str) -> None:
    event = read_event(f'["send_message", {payload}]', LIMIT)
    assert (event.name, event.payload) == ("send_message", payload.encode())


def test_the_name_may_be_spelled_with_escapes() -> None:
    assert read_event('["\\u0073ync",{}]', LIMIT).name == "sync"


NO_EVENTS = {
    "nothing": "",
    "an object": "{}",
    "an object with a name": '{"sync":{}}',
    "null": "null",
    "a string": '"sync"',
    "a number": "5",
    "an empty array": "[]",
    "null as the name": "[null]",
    "an array as the name": '[["sync"],{}]',
    "an object as the name": '[{"sync":1}]',
    "an unfinished array": "[",
    "an unfinished event": '["sync",{',
    "an unfinished name": '["sync',
    "a missing bracket": '["sync",{}',
    "a missing payload": '["sync",]',
    "a comma too many": '["sync",{},]',
    "an event and more": '["sync",{}] and more',
    "single quotes": "['sync',{}]",
    "true as the name": "[true,{}]",
    "a bare name": "[sync,{}]",
    "not a number": '["sync",NaN]',
    "a comment": '["sync",/* nothing */{}]',
}


@pytest.mark.parametrize("data", NO_EVENTS.values(), ids=NO_EVENTS)
def test_data_that_is_not_an_event_is_malformed(data: str) -> None:
    with pytest.raises(MalformedEvent) as malformed:
        read_event(data, LIMIT)
    assert malformed.value.code is ErrorCode.INVALID_PAYLOAD


REFUSED = {
    "binary": Binary('["sync",{}]'),
    "two payloads": '["sync",{},{}]',
    "no such event": '["dance",{}]',
    "a number as the name": "[5,{}]",
    "half a surrogate pair": '["sync",{"a":"\\ud800"}]',
    "half a surrogate pair in the name": '["\\ud800",{}]',
    "a number out of range as the name": "[1e400,{}]",
    "too deep": f'["sync",{"[" * 100}{"]" * 100}]',
    "too large": f'["sync","{"x" * LIMIT}"]',
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_an_event_that_is_only_refused_is_not_malformed(data: EventData) -> None:
    with pytest.raises(Rejection) as refused:
        read_event(data, LIMIT)
    assert not isinstance(refused.value, MalformedEvent)


@pytest.mark.parametrize("name", ["dance", "catch_up", "connect", "disconnect", "", "Send_Message"])
def test_a_name_that_clients_may_not_send_is_unknown(name: str) -> None:
    assert refusal(json.dumps([name, {}])) == (ErrorCode.UNKNOWN_EVENT, None)


@pytest.mark.parametrize("data", ['["sync",{},{}]', '["sync",{},null]'])
def test_more_than_one_payload_is_refused_with_the_name_of_the_event(data: str) -> None:
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
def test_brackets_inside_a_text_are_not_nesting(text: str) -> None:
    assert read_event(json.dumps(["sync", {text: [text]}]), LIMIT).name == "sync"


def test_a_text_without_an_end_is_read_once() -> None:
    endless = '["sync",' + "[]," * DEPTH + '"' + '\\"' * 400_000
    began_at = time.thread_time()
    with pytest.raises(Rejection):
        read_event(endless, 1_000_000)
    # Matching again from each quote would take minutes, of this thread alone.
    assert time.thread_time() - began_at < 10


def test_many_brackets_side_by_side_are_not_nesting() -> None:
    assert read_event(json.dumps(["sync", [[]] * 100]), LIMIT).name == "sync"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ('["typing",{}]', "typing"),
        ('[ "sync" ,{', "sync"),
        (Binary('["sync",{}]'), "sync"),
        ('["catch_up",{}]', None),
        ('["\\u0073ync",{}]', None),
        ('{"sync":1}', None),
        ("", None),
    ],
)
def test_the_name_is_read_without_parsing_the_event(data: EventData, name: str | None) -> None:
    assert known_name(data) == name
