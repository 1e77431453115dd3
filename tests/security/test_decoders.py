"""Whatever the input, each decoder either accepts or refuses it; none raises anything else."""

import json

import msgspec
import pytest
import uuid_utils
from hypothesis import example, given
from hypothesis import strategies as st
from socketio import packet

from infra.wire.batch import Event
from infra.wire.commands import client_id_of
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.registry import CLIENT_COMMANDS, WORKER_COMMANDS
from socket_edge.chat.client_event import read_event
from socket_edge.connection.packets import read_packet, read_packets, split_message
from socket_edge.json_text import DEPTH
from tests.security.shapes import encode, objects, payloads, values
from workers.requests import decode

LIMIT = 2_000

frames = st.one_of(
    st.text(max_size=60),
    st.from_regex(r"4?[0-9²½]{0,3}(/[a-z?]{0,4},?)?[0-9٣]{0,20}[\[{\"-]?.{0,20}", fullmatch=True),
    st.tuples(st.sampled_from(["42", "421", "43", "451-", "40", "41/x,"]), payloads).map(
        lambda parts: parts[0] + parts[1].decode(errors="replace")
    ),
)
"""Engine.IO frames, some of which are Socket.IO packets."""

packets_of_clients = {
    *(packet.CONNECT, packet.DISCONNECT, packet.EVENT),
    *(packet.ACK, packet.BINARY_EVENT, packet.BINARY_ACK),
}


@given(frames)
@example("4²[]")
@example("4" + "9" * 5_000)
@example("42" + "9" * 101 + "[]")
def test_a_frame_is_a_packet_or_none(text: str) -> None:
    quick = split_message(text)
    assert quick is None or quick[0] in {packet.EVENT, packet.ACK}
    slow = read_packet(text[1:])
    assert slow is None or slow.kind in packets_of_clients
    if quick is not None:
        assert slow is not None
        assert (slow.kind, slow.ack_id, slow.data) == quick
        assert (slow.namespace, slow.attachments) == ("/", 0)


@given(
    st.one_of(
        st.binary(),
        st.lists(st.one_of(st.binary(max_size=20), frames.map(str.encode))).map(b"\x1e".join),
    ),
    st.booleans(),
)
@example(b"d=4&" + b"a=1&" * 50, True)
@example(b"b" + b"!" * 50, False)
def test_any_body_of_a_request_holds_packets_or_none(body: bytes, is_form: bool) -> None:
    packets = read_packets(body, is_form=is_form)
    assert packets is None or packets
    for one in packets or ():
        assert isinstance(one, bytes) or one[0] in "0123456"


texts = st.one_of(
    st.text(max_size=100),
    st.tuples(st.sampled_from([*CLIENT_COMMANDS, "connect", "x"]), payloads).map(
        lambda parts: f'["{parts[0]}",{parts[1].decode(errors="replace")}]'
    ),
    st.lists(values, max_size=4).map(lambda parts: encode(parts).decode(errors="replace")),
    st.text('[]{}"\\,:ab1 ', max_size=200).map(lambda text: f'["sync",{text}]'),
)


@given(texts)
@example('["send_message",{"":1E310}]')
@example('["sync",' + "[]," * 40 + '"' + '\\"' * 500)
@example('["sync",{"a":"' + "\\" * 101)
def test_an_event_is_valid_or_refused(text: str) -> None:
    try:
        event = read_event(text, LIMIT)
    except Rejection as rejection:
        code = rejection.code
    else:
        assert event.name in set(CLIENT_COMMANDS)
        # Numbers are looked at by the worker, which refuses those that are out of range.
        assert depth_of(json.loads(event.payload, parse_int=str, parse_float=str)) < DEPTH
        return
    assert code in {ErrorCode.INVALID_PAYLOAD, ErrorCode.PAYLOAD_TOO_LARGE, ErrorCode.UNKNOWN_EVENT}


def depth_of(value: object) -> int:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth_of, inner), default=0)
    return 0


@pytest.mark.parametrize("command", WORKER_COMMANDS)
@given(payload=payloads)
def test_a_payload_is_a_command_or_refused(command: str, payload: bytes) -> None:
    event = Event(str(uuid_utils.uuid7()), command, "user", "socket", msgspec.Raw(payload))
    try:
        request = decode(event)
    except Rejection as rejection:
        code, message = rejection.code, rejection.message
    else:
        assert isinstance(request.command, WORKER_COMMANDS[command].payload)
        return
    assert code is ErrorCode.INVALID_PAYLOAD
    assert message


@given(st.text(max_size=20), objects.map(encode))
def test_an_unknown_name_is_an_unknown_event(name: str, payload: bytes) -> None:
    event = Event(str(uuid_utils.uuid7()), name + " ", "user", "socket", msgspec.Raw(payload))
    with pytest.raises(Rejection) as rejection:
        decode(event)
    assert rejection.value.code is ErrorCode.UNKNOWN_EVENT


@given(payloads)
def test_a_client_id_is_read_or_not(payload: bytes) -> None:
    client_id = client_id_of(payload)
    assert client_id is None or 1 <= len(client_id) <= 64
