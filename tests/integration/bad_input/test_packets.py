"""Packets and frames that no client library would send."""

import pytest

from tests.harness.deployment import Deployment
from tests.harness.raw import RawClient, event, sockets_of, until_sockets
from tests.integration.bad_input.refusals import assert_alive, assert_closed, traces

MALFORMED: dict[str, str | bytes] = {
    "no packet": "4",
    "no such type": "49",
    "no type": '4["send_message",{}]',
    "no data": "42",
    "only an id": "4217",
    "not a list": '42{"send_message":1}',
    "null": "42null",
    "empty list": "42[]",
    "unfinished": "42[",
    "an id without end": "42" + "9" * 200 + '["send_message",{}]',
    "an id of odd digits": '42²["send_message",{}]',
    "the server's own kind": "44{}",
    "eleven digits of attachments": '4512345678901-["send_message",{}]',
    "ten digits of attachments": '459999999999-["send_message",{}]',
    "negative attachments": '45-1-["send_message",{}]',
    "no attachments": '450-["send_message",{}]',
    "a binary frame out of nowhere": b"\x00\x01",
    "a binary frame like a packet": b"451-[]",
    "an ack without data": "43",
    "an ack of an object": '4399999{"a":1}',
    "another namespace's event": '42/admin,1["send_message",{}]',
}


@pytest.mark.parametrize("frame", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_packet_ends_the_connection(
    chat: Deployment, raw: RawClient, mallory: str, frame: str | bytes
) -> None:
    await assert_closed(chat, raw, mallory, frame)


async def test_a_binary_event_is_refused_by_name_and_its_attachments_are_ignored(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    await raw.send('452-7["send_message",{"text":{"_placeholder":true,"num":0}}]')
    assert (await raw.ack_of(7))["code"] == "invalid_payload"
    await raw.send(b"one")
    await raw.send(b"two")
    assert traces(chat, mallory) == [0, 0, 0, 0]
    await assert_alive(raw, mallory)
    assert [(error["code"], error["event"]) for error in raw.of("error")] == [
        ("invalid_payload", "send_message")
    ]


@pytest.mark.parametrize(
    "frames",
    [
        ["43[]"],
        ['4399999["x"]'],
        ["430[]"],
        ['461-99999["x"]', b"one"],
        ["43" + "9" * 90 + "[]"],
    ],
)
async def test_an_ack_that_nobody_asked_for_changes_nothing(
    raw: RawClient, mallory: str, frames: list[str | bytes]
) -> None:
    for frame in frames:
        await raw.send(frame)
    await assert_alive(raw, mallory)
    assert raw.of("error") == []


async def test_the_same_ack_twice_changes_nothing(raw: RawClient, mallory: str) -> None:
    await raw.ask(event("send_message", {"username": mallory, "text": "hi"}))
    await raw.expect("new_message")
    frame = next(frame for frame in raw.frames if '["new_message"' in frame)
    ack_id = frame[2:].partition("[")[0]
    for _ in range(3):
        await raw.send(f'43{ack_id}[{{"received":true}}]')
    await assert_alive(raw, mallory)


@pytest.mark.parametrize("namespace", ["/admin", "/socket.io", "/chat?x=1"])
async def test_other_namespaces_are_refused(raw: RawClient, mallory: str, namespace: str) -> None:
    await raw.send(f'40{namespace},{{"token":"x"}}')
    await raw.wait_for(
        lambda: any(frame.startswith(f"44{namespace.partition('?')[0]},") for frame in raw.frames)
    )
    await assert_alive(raw, mallory)


async def test_a_second_connect_on_one_connection_is_not_greeted_again(raw: RawClient, mallory: str) -> None:
    await raw.send('40{"token":"x"}')
    await assert_alive(raw, mallory)
    assert not [frame for frame in raw.frames if frame.startswith("44")]
    assert len(raw.of("connection_success")) == 1


async def test_an_event_after_the_disconnect_ends_the_connection(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    await raw.send("41")
    note = event("send_message", {"username": mallory, "text": "too late"})
    await assert_closed(chat, raw, mallory, f"421{note}")


@pytest.mark.parametrize("frame", ["x", "9", "", "\u00b2", "5", "6", "2probe", "0{}", b"\xff"], ids=repr)
async def test_a_frame_that_is_not_a_packet_leaves_nothing_behind(
    chat: Deployment, mallory: str, frame: str | bytes
) -> None:
    async with RawClient(chat.edges[0], mallory) as raw:
        before = await sockets_of(chat.edges[0])
        await raw.send(frame)
        async with RawClient(chat.edges[0], mallory) as other:
            await assert_alive(other, mallory)
    await until_sockets(chat.edges[0], before - 1)
