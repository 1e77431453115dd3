"""Floods against an edge with the limits that it has by default."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.harness.deployment import Deployment
from tests.harness.engines import Engines
from tests.harness.raw import RawClient
from tests.security.conftest import CONNECT_S
from tests.security.siege import Siege
from tests.security.test_rate_limits import DEFAULTS

HANDSHAKES = 4_000
EVENTS = 3_000
AT_ONCE = 50
LIMITS = {**DEFAULTS, "rate_connects": DEFAULTS["rate_connects"] / 10}
"""As by default, but that a machine on which the flood takes longer does not let all of it in."""

Name = Callable[[str], str]


@pytest.fixture(scope="module")
def limited(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One edge and one worker with the default limits."""
    store = engines.new_store()
    deployment = Deployment(store, tmp_path_factory.mktemp("limited"), connect_s=CONNECT_S, **LIMITS)
    yield deployment.start(edges=1, workers=1, beat=False)
    deployment.stop()
    engines.release(store)


async def test_a_flood_of_handshakes(
    limited: Deployment, name: Name, record_property: Callable[[str, object], None]
) -> None:
    edge = limited.edges[0]
    address = f"{edge.url}/socket.io/?EIO=4&transport=polling"
    statuses: Counter[int] = Counter()
    async with (
        Siege(
            limited,
            (name("alice"), name("bob")),
            record_property,
            attack="a flood of handshakes from one address",
            sent=f"{HANDSHAKES:,} handshakes",
            outcome="`RATE_CONNECTS_BURST` and `RATE_CONNECTS` of them are taken; the others get HTTP 429",
            bound_mb=150,
        ),
        httpx.AsyncClient(timeout=15) as http,
    ):
        for _ in range(0, HANDSHAKES, AT_ONCE):
            for answer in await asyncio.gather(*(http.get(address) for _ in range(AT_ONCE))):
                statuses[answer.status_code] += 1
                if answer.status_code == 429:
                    assert int(answer.headers["Retry-After"]) >= 1
    assert statuses.keys() == {200, 429}
    assert statuses[200] >= DEFAULTS["rate_connects_burst"] - 100


async def test_a_flood_of_events(
    limited: Deployment, name: Name, record_property: Callable[[str, object], None]
) -> None:
    # The flood of handshakes has used up what this address may open at once.
    await asyncio.sleep(8 / LIMITS["rate_connects"])
    async with (
        Siege(
            limited,
            (name("alice"), name("bob")),
            record_property,
            attack="a flood of events of one user",
            sent=f"{EVENTS:,} events at once",
            outcome="`RATE_EVENTS_BURST` and `RATE_EVENTS` of them are taken; the others are `rate_limited`",
            bound_mb=40,
        ),
        RawClient(limited.edges[0], name("mallory")) as raw,
    ):
        ids = [await raw.post('["list_chats",{}]') for _ in range(EVENTS)]
        answers = [await raw.ack_of(ack_id) for ack_id in ids]
    codes = Counter(answer.get("code", "ok") for answer in answers)
    assert codes.keys() == {"ok", "rate_limited"}
    assert DEFAULTS["rate_events_burst"] <= codes["ok"] < EVENTS / 2
