"""What an app adds to a message is stored and returned as it came, to the last byte."""

from typing import Any

import msgspec
import pytest

from infra.wire.commands import DATA_BYTES
from infra.wire.errors import ErrorCode
from tests.harness.talk import Talk
from tests.harness.worker_bench import Reply, WorkerBench

ODD = [
    b"{}",
    b'{ "b" :1.0,\t"a": [ 1e2 , -0.0, 12345678901234567890123 ],\n"b": null }',
    b'{"\\u0000": "\\u00e9\\ud83d\\ude00", "/": "\\/"}',
    '{"\u00e9": "\U0001f600"}'.encode(),
]


@pytest.fixture
def talk(bench: WorkerBench) -> Talk:
    return Talk.start(bench)


def sending(talk: Talk, data: bytes, words: str = "hello") -> Any:
    payload = b'{"username": %s, "text": %s, "data": %s }' % (
        msgspec.json.encode(talk.bobs_name),
        msgspec.json.encode(words),
        data,
    )
    return talk.bench.event(talk.alice, "send_message", payload)


def padded(size: int) -> bytes:
    return b'{"a":"%s"}' % (b"x" * (size - 8))


class _WithData(msgspec.Struct):
    data: msgspec.Raw


def as_told(reply: Reply) -> list[bytes]:
    """Return `data` of each event as it is written."""
    return [bytes(msgspec.json.decode(emit.data, type=_WithData).data) for emit in reply.emits]


def told(data: bytes) -> bytes:
    """Return what others get: what workers send to edges is made of lines."""
    return data.replace(b"\n", b" ")


@pytest.mark.parametrize("data", ODD)
def test_data_is_stored_and_returned_as_it_came(talk: Talk, data: bytes) -> None:
    asked = sending(talk, data)
    reply = talk.bench.ask(asked)
    assert reply.ack(asked)["message"]["data"] == msgspec.json.decode(data)
    assert as_told(reply) == [told(data)]
    assert talk.row(1).data == data.decode()
    page = talk.event(talk.bob, "get_messages")
    answer = bytes(talk.bench.ask(page).answers[page.id].data)
    assert b'"data":%s' % told(data) in answer


@pytest.mark.parametrize("data", ODD)
def test_an_edit_stores_data_as_it_came(talk: Talk, data: bytes) -> None:
    talk.send(talk.alice)
    payload = b'{"chatId":"%s","seq":1,"text":"hello","data":%s}' % (talk.chat_id.encode(), data)
    reply = talk.bench.ask(talk.bench.event(talk.alice, "edit_message", payload))
    assert as_told(reply) == [told(data)]
    assert talk.row(1).data == data.decode()


def test_data_may_have_4096_bytes_and_no_more(talk: Talk) -> None:
    assert DATA_BYTES == 4_096
    full, long = sending(talk, padded(4_096)), sending(talk, padded(4_097))
    wide = sending(talk, ('{"a":"%s"}' % ("\u00e9" * 2_045)).encode())
    reply = talk.bench.ask(full, long, wide)
    assert reply.ack(full)["message"]["seq"] == 1
    assert [reply.failure(one).code for one in (long, wide)] == [ErrorCode.INVALID_PAYLOAD] * 2
    edited = {"seq": 1, "text": "x", "data": msgspec.Raw(padded(4_097))}
    assert talk.refused(talk.alice, "edit_message", **edited) == ErrorCode.INVALID_PAYLOAD


@pytest.mark.parametrize("data", [b"[]", b'"{}"', b"1", b"true", b"[{}]"])
def test_data_that_is_no_object_is_refused(talk: Talk, data: bytes) -> None:
    asked = sending(talk, data)
    assert talk.bench.ask(asked).failure(asked).code == ErrorCode.INVALID_PAYLOAD


def test_null_is_no_data(talk: Talk) -> None:
    asked, empty = sending(talk, b"null"), sending(talk, b"null", "")
    reply = talk.bench.ask(asked, empty)
    assert "data" not in reply.ack(asked)["message"]
    assert reply.failure(empty).code == ErrorCode.INVALID_PAYLOAD
    assert talk.row(1).data is None


def test_data_takes_the_place_of_a_text(talk: Talk) -> None:
    asked = talk.bench.event(talk.alice, "send_message", {"username": talk.bobs_name, "data": {"a": 1}})
    reply = talk.bench.ask(asked)
    message = reply.ack(asked)["message"]
    assert (message["text"], message["data"]) == ("", {"a": 1})
    assert reply.emitted("new_message", talk.bob) == [message]
    blank = sending(talk, b"{}", "\u200b")
    neither = talk.bench.event(talk.alice, "send_message", {"username": talk.bobs_name})
    reply = talk.bench.ask(blank, neither)
    assert [reply.failure(one).code for one in (blank, neither)] == [ErrorCode.INVALID_PAYLOAD] * 2


@pytest.mark.parametrize(
    "data",
    [b'{"a":"\xff"}', b'{"\xed\xa0\x80":1}', b'{"a":1e999}'],
    ids=["no text", "half a character", "out of range"],
)
def test_data_that_cannot_be_read_is_refused_alone(talk: Talk, data: bytes) -> None:
    asked, other = sending(talk, data), talk.sending(talk.alice)
    reply = talk.bench.ask(asked, other)
    assert reply.failure(asked).code == ErrorCode.INVALID_PAYLOAD
    assert reply.ack(other)["message"]["seq"] == 1


def test_a_page_of_messages_with_long_data_fits_into_a_frame(talk: Talk) -> None:
    talk.send(talk.alice)
    talk.bench.rows(
        """
        INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, data, created_at)
        SELECT chat_id, n, gen_random_uuid(), sender_id, recipient_id, repeat('x', 4000), :data, now()
        FROM messages, generate_series(2, 300) n WHERE chat_id = :chat
        """,
        chat=talk.chat_id,
        data=padded(4_096).decode(),
    )
    talk.bench.rows("UPDATE chats SET last_seq = 300 WHERE id = :chat", chat=talk.chat_id)
    event = talk.bench.event(talk.bob, "sync", {"cursors": {talk.chat_id: 0}})
    found, cursor = 0, 0
    while cursor < 300:
        event = talk.bench.event(talk.bob, "sync", {"cursors": {talk.chat_id: cursor}})
        answer = talk.bench.ask(event).answers[event.id]
        assert len(bytes(answer.data)) < 1_000_000
        (gap,) = msgspec.json.decode(answer.data)["chats"]
        found += len(gap["messages"])
        cursor = gap["messages"][-1]["seq"]
    assert found == 300
