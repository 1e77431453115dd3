"""Floods: handshakes and events at the default limits, and bytes of any kind at low ones."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import Name
from tests.harness.deployment import DEFAULT_RATES, Deployment, Edge, with_profile
from tests.harness.raw import RECORD_SEPARATOR, RawClient, RawPolling
from tests.security.conftest import Besiege
from tests.security.limits import ONE_IN_100_S
from tests.security.reactions import EMOJIS, assert_bounded, message_to, toggles
from tests.security.tcp import Tcp
from workers.handlers.react import REACTIONS

pytestmark = pytest.mark.alone

HANDSHAKES = 4_000
EVENTS = 3_000
AT_ONCE = 50


@pytest.fixture(scope="module")
def limited(target: Deployment) -> Iterator[Edge]:
    """Another edge, with the default limits."""
    edge = target.start_edge(**DEFAULT_RATES)
    yield edge
    edge.stop()
    target.edges.remove(edge)


async def test_a_flood_of_handshakes(limited: Edge, besiege: Besiege) -> None:
    statuses: Counter[bytes] = Counter()
    async with besiege(
        edge=limited,
        attack="a flood of handshakes from one address",
        sent=f"{HANDSHAKES:,} handshakes, {AT_ONCE} at a time",
        outcome="`RATE_CONNECTS_BURST`, then `RATE_CONNECTS` a second pass; the others get HTTP 429",
        bound_mb=150,
    ):
        for found in await asyncio.gather(
            *(shake_hands(limited, HANDSHAKES // AT_ONCE) for _ in range(AT_ONCE))
        ):
            statuses += found
    assert statuses.keys() == {b"200", b"429"}
    assert statuses.total() == HANDSHAKES
    assert statuses[b"200"] >= DEFAULT_RATES["rate_connects_burst"] - 100


async def shake_hands(edge: Edge, count: int) -> Counter[bytes]:
    """Send that many handshakes one after another; return the number of answers by status."""
    statuses: Counter[bytes] = Counter()
    while statuses.total() < count:
        async with Tcp(edge) as tcp:
            while statuses.total() < count and (answer := await shake_hand(tcp)):
                statuses[answer.split()[1]] += 1
                assert (b"\r\nretry-after: " in answer.lower()) is (b" 429 " in answer)
    return statuses


async def shake_hand(tcp: Tcp) -> bytes:
    await tcp.send(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: edge\r\n\r\n")
    return await tcp.answer()


async def test_a_flood_of_events(limited: Edge, besiege: Besiege, mallory: str) -> None:
    await refill()
    async with (
        besiege(
            edge=limited,
            attack="a flood of events from one user",
            sent=f"{EVENTS:,} events at once",
            outcome="`RATE_EVENTS_BURST`, then `RATE_EVENTS` a second pass; the others are `rate_limited`",
            bound_mb=40,
        ),
        RawClient(limited, mallory) as raw,
    ):
        ids = [await raw.post('["list_chats",{}]') for _ in range(EVENTS)]
        answers = [await raw.ack_of(ack_id) for ack_id in ids]
    codes = Counter(answer.get("code", "ok") for answer in answers)
    assert codes.keys() == {"ok", "rate_limited"}
    assert DEFAULT_RATES["rate_events_burst"] <= codes["ok"] < EVENTS / 2


async def refill() -> None:
    """Wait until this address may connect a few times again, after the flood of handshakes."""
    await asyncio.sleep(8 / DEFAULT_RATES["rate_connects"])


async def test_a_flood_of_reactions(limited: Edge, target: Deployment, besiege: Besiege, name: Name) -> None:
    await refill()
    mallory = with_profile(target, name("mallory"))
    async with (
        besiege(
            edge=limited,
            attack="a flood of reactions from one user",
            sent=f"{EVENTS:,} reactions to one message, added and taken back",
            outcome=f"as any flood of events; at most {REACTIONS} are there at any time",
            bound_mb=40,
        ),
        RawClient(limited, name("carol")) as carol,
        RawClient(limited, mallory) as raw,
    ):
        message = await message_to(mallory, carol)
        ids = [await raw.post(data) for data in toggles(message, EVENTS // (2 * len(EMOJIS)))]
        answers = [await raw.ack_of(ack_id) for ack_id in ids]
        await assert_bounded(target, carol, message)
    codes = Counter(answer.get("code", "ok") for answer in answers)
    assert codes.keys() == {"ok", "not_allowed", "rate_limited"}
    assert DEFAULT_RATES["rate_events_burst"] <= len(answers) - codes["rate_limited"] < EVENTS / 2


@pytest.fixture(scope="module")
def narrow(target: Deployment) -> Iterator[Edge]:
    """Another edge, which takes 10 kB of events and ten times as much of anything else."""
    edge = target.start_edge(rate_bytes=ONE_IN_100_S, rate_bytes_burst=10_000)
    yield edge
    edge.stop()
    target.edges.remove(edge)


MANY = "x" * 60_000
"""Two of these frames are more than a user may send."""
LARGE: dict[str, str] = {
    "pongs": f"3{MANY}",
    "upgrades": f"5{MANY}",
    "noops": f"6{MANY}",
    "events": f'42["list_chats","{MANY}"]',
    "events with a query": f'42/?{MANY},["list_chats",{{}}]',
    "connects": f'40{{"token":"{MANY}"}}',
    "acks": f'431["{MANY}"]',
    "acks with a query": f"43/?{MANY},1[]",
}


LARGE_BREACHES: dict[str, str | bytes] = {
    "bytes": MANY.encode(),
    "events in other namespaces": f'42/admin,["{MANY}"]',
    "disconnects": f"41/{MANY},",
    "refusals": f'44"{MANY}"',
    "unknown packets": f"49{MANY}",
    "no packets": f"4[{MANY}",
}
"""The first ends the connection, whatever its size."""


@pytest.mark.parametrize("frame", LARGE.values(), ids=LARGE)
async def test_a_flood_of_bytes_of_any_kind_is_cut_off(narrow: Edge, name: Name, frame: str) -> None:
    async with RawClient(narrow, name("mallory")) as raw:
        with suppress(ConnectionClosed):
            for _ in range(5):
                await raw.send(frame)
        assert await raw.closed() == 1006


@pytest.mark.parametrize("frame", LARGE_BREACHES.values(), ids=LARGE_BREACHES)
async def test_a_large_frame_that_breaks_the_protocol_is_the_last(
    narrow: Edge, name: Name, frame: str | bytes
) -> None:
    async with RawClient(narrow, name("mallory")) as raw:
        await raw.send(frame)
        assert await raw.closed() == 1000


BODIES = {
    **{kind: frame.encode() for kind, frame in LARGE.items() if isinstance(frame, str)},
    "no frames": MANY.encode(),
    "wrong Base64": f"b!{MANY}".encode(),
    "Base64": f"b{MANY}".encode(),
    "forms": f"d=43[]&a={MANY}".encode(),
    "separators": RECORD_SEPARATOR.encode() * len(MANY),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_flood_of_bytes_in_polls_is_cut_off(narrow: Edge, name: Name, body: bytes) -> None:
    async with RawPolling(narrow, name("mallory")) as polling:
        statuses = [(await polling.post_body(body)).status_code for _ in range(5)]
        assert statuses[-1] == 400
