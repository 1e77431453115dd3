"""Packets: a client's JSON stays the text that it sent, and what is no packet is known as such."""

import base64
import json
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio import packet

from socket_edge.connection.packets import (
    ClientPacket,
    Packet,
    is_frame,
    jsonp,
    read_packet,
    read_packets,
    size_of,
    split_message,
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


@pytest.mark.parametrize("text", ["0", "1", "2probe", "3", "40", "4", "5", "6"])
def test_a_frame_begins_with_its_type(text: str) -> None:
    assert is_frame(text)


@pytest.mark.parametrize("text", ["", "x", "7", "9", "b!!!", "²", "٣", " 4", "-1"])
def test_any_other_text_is_not_a_frame(text: str) -> None:
    assert not is_frame(text)


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
    assert split_message(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "2", "40", '40{"token":"x"}', "42", "43[]", '42/x,["sync"]', '451-["x"]', "4[]", '431["x'),
        *("42\u0663[]", "42²[]", "42-1[]", "42" + "9" * 16 + "[]"),
    ],
    ids=lambda text: text.encode("unicode_escape").decode() or "empty",
)
def test_every_other_frame_takes_the_slow_path(text: str) -> None:
    assert split_message(text) is None


SOUND = {
    "connect": ("0", (packet.CONNECT, 0, "/", None, "")),
    "connect with data": ('0{"token":"x"}', (packet.CONNECT, 0, "/", None, '{"token":"x"}')),
    "connect to the default namespace": ("0/,{}", (packet.CONNECT, 0, "/", None, "{}")),
    "connect to another namespace": ("0/admin,{}", (packet.CONNECT, 0, "/admin", None, "{}")),
    "connect without a comma": ("0/admin", (packet.CONNECT, 0, "/admin", None, "")),
    "a query": ("0/admin?a=/b,{}", (packet.CONNECT, 0, "/admin", None, "{}")),
    "a namespace of many parts": ("0/a/b-ä?", (packet.CONNECT, 0, "/a/b-ä", None, "")),
    "disconnect": ("1", (packet.DISCONNECT, 0, "/", None, "")),
    "disconnect from another namespace": ("1/admin,", (packet.DISCONNECT, 0, "/admin", None, "")),
    "event": ('2["a", 1e3]', (packet.EVENT, 0, "/", None, '["a", 1e3]')),
    "event with an id": ('27["a"]', (packet.EVENT, 0, "/", 7, '["a"]')),
    "event of another namespace": ('2/x,7["a"]', (packet.EVENT, 0, "/x", 7, '["a"]')),
    "event with a long id": ("2" + "1" * 100 + "[]", (packet.EVENT, 0, "/", int("1" * 100), "[]")),
    "event whose data nobody has checked": ("2{}", (packet.EVENT, 0, "/", None, "{}")),
    "ack": ('37["x"]', (packet.ACK, 0, "/", 7, '["x"]')),
    "ack with half a surrogate pair": ('37["\\ud800"]', (packet.ACK, 0, "/", 7, '["\\ud800"]')),
    "ack without an id": ("3[]", (packet.ACK, 0, "/", None, "[]")),
    "binary event": ('51-["a"]', (packet.BINARY_EVENT, 1, "/", None, '["a"]')),
    "binary event with everything": ('512-/x,7["a"]', (packet.BINARY_EVENT, 12, "/x", 7, '["a"]')),
    "binary ack": ("61-7[]", (packet.BINARY_ACK, 1, "/", 7, "[]")),
}


@pytest.mark.parametrize(("text", "expected"), SOUND.values(), ids=SOUND)
def test_a_packet_keeps_the_json_text(text: str, expected: tuple[int, int, str, int | None, str]) -> None:
    assert read_packet(text) == ClientPacket(*expected)


UNSOUND = {
    "nothing": "",
    "a letter": "x",
    "type 7": "7[]",
    "type 9": "9",
    "a digit of another script": "٢[]",
    "only JSON": '["sync",{}]',
    "the server's own kind": '4{"message":"x"}',
    "connect with an id": "07{}",
    "disconnect with data": "1{}",
    "disconnect with an id": "17",
    "ack without data": "37",
    "ack of an object": "37{}",
    "ack of a string": '37"x"',
    "unfinished ack": '37["x',
    "ack and more": "37[]]",
    "deep ack": "37" + "[" * 100_000,
    "binary event without a number": '5["a"]',
    "binary event without attachments": '50-["a"]',
    "negative attachments": '5-1-["a"]',
    "too many attachments": '5100-["a"]',
    "a billion attachments": '51999999999-["a"]',
    "unfinished binary ack": '61-7["x',
    "binary ack without attachments": "60-7[]",
}


@pytest.mark.parametrize("text", UNSOUND.values(), ids=UNSOUND)
def test_what_clients_may_not_send_is_no_packet(text: str) -> None:
    assert read_packet(text) is None


BODIES: dict[str, tuple[bytes, list[str | bytes] | None]] = {
    "one packet": (b"40{}", ["40{}"]),
    "several packets": ('3\x1e42["ä"]\x1e6'.encode(), ["3", '42["ä"]', "6"]),
    "bytes": (b"b" + base64.b64encode(b"\x00\xff"), [b"\x00\xff"]),
    "no bytes": (b"b", [b""]),
    "nothing": (b"", None),
    "a letter": (b"x", None),
    "separators": (b"\x1e\x1e", None),
    "a separator at the end": (b"3\x1e", None),
    "a bad packet among good ones": (b"3\x1e9\x1e3", None),
    "no UTF-8": (b"4\xff\xfe", None),
    "half a surrogate pair": (b"4\xed\xa0\x80", None),
    "bad Base64": (b"b!!!", None),
    "padded Base64": (b"bAAE=", [b"\x00\x01"]),
    "unpadded Base64": (b"bAA", None),
    "a form": (b"d=4", None),
}


@pytest.mark.parametrize(("body", "packets"), BODIES.values(), ids=BODIES)
def test_the_body_of_a_request_holds_packets_or_none(body: bytes, packets: list[str | bytes] | None) -> None:
    assert read_packets(body, is_form=False) == packets


@pytest.mark.parametrize(
    ("body", "packets"),
    [(b"d=42%5B%22a%22%5D", ['42["a"]']), (b"x=4", None), (b"4", None), (b"d=4&d=4", None), (b"d=x", None)],
)
def test_a_form_holds_packets_or_none(body: bytes, packets: list[str | bytes] | None) -> None:
    assert read_packets(body, is_form=True) == packets


def test_a_script_calls_the_client_with_the_answer() -> None:
    answer = '42["quote \\" and line \u2028"]'
    script = jsonp(answer, 3)
    assert script.startswith("___eio[3](")
    assert json.loads(script.removeprefix("___eio[3](").removesuffix(");")) == answer
    assert "\u2028" not in script


def test_outgoing_data_is_rendered_as_json() -> None:
    class Payload(msgspec.Struct):
        text: str

    assert Packet(packet.CONNECT, Payload("чат")).encode() == '0{"text":"чат"}'


def as_jsonp_clients_send(body: str) -> bytes:
    """Return the form that engine.io-client 6 sends (polling-jsonp.js, doWrite)."""
    escaped = body.replace(r"\n", "\\\n").replace("\n", r"\n")
    return urlencode({"d": escaped}).encode()


@given(text=st.text(st.sampled_from('\\n\n a"\r')))
def test_line_breaks_in_jsonp_are_what_the_client_meant(text: str) -> None:
    event = f"42{json.dumps(['send_message', {'text': text}])}"
    assert read_packets(as_jsonp_clients_send(event), is_form=True) == [event]
