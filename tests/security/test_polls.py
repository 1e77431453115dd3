"""Attacks over long polling: bodies that are too large, endless, full of packets, or not packets at all."""

import asyncio
import json

import httpx
import pytest

from tests.harness.deployment import Deployment, Edge
from tests.harness.raw import RECORD_SEPARATOR, RawPolling, event
from tests.harness.waiting import PATIENCE_S
from tests.security.conftest import Besiege
from tests.security.tcp import Tcp
from tests.security.test_sockets import open_polling

pytestmark = pytest.mark.alone

MB = 1_000_000


async def test_a_body_of_thousands_of_packets_holds_up_nobody(
    target: Deployment, besiege: Besiege, polling: RawPolling, mallory: str
) -> None:
    async with besiege(
        attack="polls with many packets",
        sent="3 each of 4,000 and 10,001 events, and empty packets; 1 of 9,000",
        outcome="10,000 answered, HTTP 413 for more; cut off at `SEND_QUEUE` answers",
        bound_mb=100,
    ):
        for number in range(1, 4):
            assert (await polling.post(*['42["dance",{}]'] * 4_000)).status_code == 200
            await polling.expect('42["error"', 4_000 * number)
            assert (await polling.post(*['42["dance",{}]'] * 10_001)).status_code == 413
            assert (await polling.post_body(RECORD_SEPARATOR.encode() * 500_000)).status_code == 413
            async with RawPolling(target.edges[0], mallory) as empty:
                assert (await empty.post_body(RECORD_SEPARATOR.encode() * 9_000)).status_code == 400
        assert len(await polling.expect('42["error"', 12_000)) == 12_000
        await polling.post(*['42["dance",{}]'] * 9_000)
        assert (await polling.post("3")).status_code == 400


@pytest.mark.parametrize("kind", ["a form", "deep JSON", "wide JSON", "not a packet"])
async def test_bodies_that_are_not_packets_close_the_session(
    target: Deployment, besiege: Besiege, mallory: str, kind: str
) -> None:
    bodies = {
        "a form": b"d=4" + b"&a=1" * 240_000,
        "deep JSON": b"4" + b"[" * 900_000,
        "wide JSON": b"4[" + b"[]," * 300_000 + b"0]",
        "not a packet": b"b" + b"!" * 900_000,
    }
    async with besiege(
        attack=f"polls whose body is {kind}",
        sent="10 bodies of almost 1 MB",
        outcome="HTTP 400, and the session closes",
        bound_mb=60,
    ):
        for _ in range(10):
            async with RawPolling(target.edges[0], mallory) as polling:
                assert (await polling.post_body(bodies[kind])).status_code == 400
                assert (await polling.post("3")).status_code == 400


async def test_bodies_over_the_limit_are_not_read(
    target: Deployment, besiege: Besiege, polling: RawPolling, mallory: str
) -> None:
    async with besiege(
        attack="polls of 10 MB",
        sent="20 bodies with a length, and 5 endless chunked ones",
        outcome="HTTP 413; chunks once they pass the limit, and they are closed after `CONNECT_S`",
        bound_mb=40,
    ):
        for _ in range(20):
            assert (await polling.post_body(b"4" * 10 * MB)).status_code == 413
        await asyncio.gather(*(pour(target, mallory) for _ in range(5)))


async def pour(target: Deployment, username: str) -> None:
    """Send a body in chunks that never end, which is refused at the limit, until the connection closes."""
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    async with RawPolling(target.edges[0], username) as polling, Tcp(target.edges[0]) as tcp:
        path = httpx.URL(polling.address).raw_path
        await tcp.send(b"POST %b HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n" % path)
        for _ in range(2 * MB // 0x10000):
            await tcp.send(chunk)
        async with asyncio.timeout(PATIENCE_S):
            assert (await tcp.receive()).startswith(b"HTTP/1.1 413 ")
        ended = asyncio.create_task(tcp.closed())
        while not ended.done():
            await tcp.send(chunk)
            await asyncio.sleep(0.01)
        await ended


async def test_a_request_that_ends_its_connection_is_answered_though_nobody_polls(
    patient: Edge, besiege: Besiege
) -> None:
    endings = (b"2", b"41", b"42[]", b"2probe", b"1", b"1\x1e0", b'1\x1e40{"token":"x"}')
    async with (
        besiege(
            edge=patient,
            attack="bodies that end their connection",
            sent=f"{20 * len(endings)} on as many connections, which never poll for the rest",
            outcome="the request is answered and the connection closed",
            bound_mb=20,
        ),
        httpx.AsyncClient(timeout=PATIENCE_S, verify=False) as http,
    ):
        for body in 20 * endings:
            address = await open_polling(http, patient)
            assert (await http.post(address, content=body)).status_code in {200, 400}
            assert (await http.post(address, content=b"3")).status_code == 400


async def test_a_client_that_does_not_poll_is_cut_off(
    besiege: Besiege, polling: RawPolling, mallory: str
) -> None:
    chat_id = await fill_chat(polling, mallory)
    page = event("get_messages", {"chatId": chat_id, "limit": 10})
    async with besiege(
        attack="a client that never polls",
        sent="up to 200 requests for pages of 160 kB, never polling for the answers",
        outcome="cut off at `SEND_BYTES` of waiting answers",
        bound_mb=30,
    ):
        status = 200
        async with asyncio.timeout(PATIENCE_S):
            while status == 200:
                status = (await polling.post(f"427{page}")).status_code
                await asyncio.sleep(0.01)
        assert status == 400


async def fill_chat(polling: RawPolling, username: str) -> str:
    """Store ten long notes to self; return the id of their chat."""
    note = event("send_message", {"username": username, "text": "\N{GRINNING FACE}" * 4_000})
    for number in range(1, 11):
        await polling.post(f"42{number}{note}")
    acks = await polling.expect("43", 10)
    return str(json.loads(acks[-1][acks[-1].index("[") :])[0]["message"]["chatId"])
