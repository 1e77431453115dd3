"""Packets: a client's JSON stays the text that it sent, and no input makes a decoder raise."""

import json
from typing import Any

import msgspec
import pytest
from socketio import packet

from socket_edge.connection.api import Binary, Malformed
from socket_edge.connection.packets import (
    ATTACHMENT,
    Packet,
    Unparsed,
    read_packet,
    size_of,
    well_formed,
)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        *(("", 0), ('["sync"]', 8), ('["ä"]', 6), ('["чат"]', 10), ('["🙂"]', 8), ('["\ud800"]', 7)),
        *((b"", 0), (b"\xff\x00", 2)),
    ],
    ids=["empty", "ascii", "umlaut", "cyrillic", "emoji", "surrogate", "no bytes", "bytes"],
)
def test_sizes_are_counted_in_bytes(data: str | bytes, size: int) -> None:
    assert size_of(data) == size


@pytest.mark.parametrize("text", ['42["sync",{}]', "40", "41", '451-["sync",{}]', "2probe", "3", "5"])
def test_a_frame_passes(text: str) -> None:
    assert well_formed(text) == text


@pytest.mark.parametrize("text", ["4[[[[", '4{"a":1}', "4true", '4"2[]"', "4null", "4 2[]"])
def test_json_that_engineio_would_parse_is_cut_off(text: str) -> None:
    assert well_formed(text) == "4"


def test_other_kinds_carry_no_data() -> None:
    assert well_formed("3[[[[") == "3"


@pytest.mark.parametrize("text", ["", "x", "9", "b!!!", "²"])
def test_any_other_text_is_not_a_frame(text: str) -> None:
    assert well_formed(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('42["sync",{}]', (packet.EVENT, None, '["sync",{}]')),
        ('427["sync",{}]', (packet.EVENT, 7, '["sync",{}]')),
        ("437[]", (packet.ACK, 7, "[]")),
        ("42" + "9" * 15 + "[]", (packet.EVENT, 10**15 - 1, "[]")),
        ('42[ "not JSON', (packet.EVENT, None, '[ "not JSON')),
    ],
)
def test_events_and_acks_take_the_fast_path(text: str, expected: tuple[int, int | None, str]) -> None:
    assert read_packet(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "2", "40", '40{"token":"x"}', "42", "43[]", '42/x,["sync"]', '451-["x"]', "4[]"),
        *("42\u0663[]", "42²[]", "42-1[]", "42" + "9" * 16 + "[]"),
    ],
    ids=lambda text: text.encode("unicode_escape").decode() or "empty",
)
def test_every_other_frame_takes_the_slow_path(text: str) -> None:
    assert read_packet(text) is None


def decoded(encoded: object) -> Any:
    return Packet(encoded_packet=encoded)


def test_a_packet_keeps_the_json_text() -> None:
    read = decoded('27["send_message", {"text" : 1e3}]')
    assert (read.packet_type, read.id, read.data) == (packet.EVENT, 7, '["send_message", {"text" : 1e3}]')


def test_a_binary_frame_is_an_attachment_of_a_refused_event() -> None:
    read = decoded(b"anything")
    assert (read.packet_type, read.data) == (packet.EVENT, ATTACHMENT)


def test_an_event_with_attachments_is_marked_and_waits_for_none() -> None:
    read = decoded('51-["sync",{"_placeholder":true,"num":0}]')
    assert (read.packet_type, read.attachment_count) == (packet.EVENT, 0)
    assert isinstance(read.data, Binary)


def test_an_ack_with_attachments_is_an_ack() -> None:
    read = decoded("61-7[]")
    assert (read.packet_type, read.id) == (packet.ACK, 7)


@pytest.mark.parametrize(
    "encoded", ['4"refused"', "7[]", "9", "x", "2²[]", "2" + "9" * 200 + "[]", 5, [1]], ids=str
)
def test_a_packet_that_clients_may_not_send_is_malformed(encoded: object) -> None:
    read = decoded(encoded)
    assert (read.packet_type, read.data) == (packet.EVENT, Malformed.PACKET)


def test_outgoing_data_is_rendered_as_json() -> None:
    class Payload(msgspec.Struct):
        text: str

    assert json.loads(Unparsed.dumps(Payload("чат"), separators=(",", ":"))) == {"text": "чат"}
