"""Users over their limit are refused, told when to retry, and cut off if they go on."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import ClientFactory, Name
from tests.harness.deployment import DEFAULT_RATES, Edge
from tests.harness.raw import RawClient, RawPolling, event, padded
from tests.security.limits import ONE_IN_100_S, assert_rate_limited

LIST = '["list_chats",{}]'


EDGES = {
    "few": {"rate_events": ONE_IN_100_S, "rate_events_burst": 3},
    "one a second": {"rate_events": 1, "rate_events_burst": 1},
    "10 kB": {"rate_bytes": ONE_IN_100_S, "rate_bytes_burst": 10_000},
    "defaults": DEFAULT_RATES,
}


@pytest.fixture
def few(edges: Mapping[str, Edge]) -> Edge:
    """Return an edge that accepts three events of a user and then almost none."""
    return edges["few"]


async def test_an_event_too_many_is_refused_in_its_ack_and_as_an_error(few: Edge, name: Name) -> None:
    async with RawClient(few, name("mallory")) as raw:
        for _ in range(3):
            assert (await raw.ask(LIST))["success"]
        ack = await raw.ask(LIST)
        error = await raw.expect("error")
    assert_rate_limited(ack)
    assert ack == {
        "success": False,
        "error": error["message"],
        "code": "rate_limited",
        "retryable": True,
        "retryAfterMs": error["retryAfterMs"],
    }
    assert error["event"] == "list_chats"


async def test_after_the_requested_pause_the_event_is_accepted(edges: Mapping[str, Edge], name: Name) -> None:
    async with RawClient(edges["one a second"], name("mallory")) as raw:
        # However slow this process is, some come within a second of one another.
        acks = [await raw.ack_of(ack_id) for ack_id in [await raw.post(LIST) for _ in range(8)]]
        assert acks[0]["success"]
        refusal = [ack for ack in acks if not ack["success"]][-1]
        assert_rate_limited(refusal)
        await asyncio.sleep(refusal["retryAfterMs"] / 1000)
        assert (await raw.ask(LIST))["success"]


async def test_all_sockets_of_a_user_share_one_limit_and_a_new_one_does_not_reset_it(
    few: Edge, name: Name
) -> None:
    mallory = name("mallory")
    async with RawClient(few, mallory) as one, RawPolling(few, mallory) as other:
        for _ in range(2):
            assert (await one.ask(LIST))["success"]
        await other.post(f"421{LIST}", f"422{LIST}")
        (taken,) = await other.expect("431")
        (refused,) = await other.expect("432")
        assert ('"success":true' in taken, '"rate_limited"' in refused) == (True, True)
        assert_rate_limited(await one.ask(LIST))
    async with RawClient(few, mallory) as again:
        assert_rate_limited(await again.ask(LIST))


async def test_one_users_load_does_not_limit_others(few: Edge, name: Name) -> None:
    async with RawClient(few, name("mallory")) as mallory, RawClient(few, name("bob")) as bob:
        for _ in range(4):
            refusal = await mallory.ask(LIST)
        assert_rate_limited(refusal)
        assert (await bob.ask(LIST))["success"]


BAD = {
    "unknown": '42["dance",{}]',
    "too large": f"42{padded('nobody', 70_000)}",
    "no such field": '42["send_message",{}]',
    "reserved": '42["connect",{}]',
}


@pytest.mark.parametrize("frame", BAD.values(), ids=BAD)
async def test_bad_events_count_too(few: Edge, name: Name, frame: str) -> None:
    async with RawClient(few, name("mallory")) as raw:
        for _ in range(4):
            await raw.send(frame)
        await raw.expect("error", 4)
        refused = [error for error in raw.of("error") if error["code"] == "rate_limited"]
        assert len(refused) == 1
        assert_rate_limited(refused[0])


async def test_acks_do_not_count_as_events(few: Edge, name: Name) -> None:
    async with RawClient(few, name("mallory")) as raw:
        for number in range(10):
            await raw.send(f"43{number}[]")
            await raw.send(f"43{'9' * 20}[{number}]")
        for _ in range(3):
            assert (await raw.ask(LIST))["success"]


async def test_acks_that_the_edge_asked_for_are_free(
    few: Edge, edges: Mapping[str, Edge], client: ClientFactory, name: Name
) -> None:
    mallory = name("mallory")
    async with RawClient(few, mallory) as raw:
        # Once mallory is answered, others can write to her.
        assert (await raw.ask(LIST))["success"]
        bob = await client(name("bob")).connect(edges["defaults"])
        acks = await asyncio.gather(*(bob.send(mallory, f"{number}") for number in range(100)))
        assert all(ack["success"] for ack in acks)
        await raw.expect("new_message", 100)
        for frame in [frame for frame in raw.frames if '["new_message"' in frame]:
            await raw.send(f"43{frame[2:].partition('[')[0]}[]")
        assert (await raw.ask(LIST))["success"]


async def test_typing_over_the_limit_is_dropped_silently(few: Edge, name: Name) -> None:
    async with RawClient(few, name("mallory")) as raw:
        for _ in range(3):
            await raw.ask(LIST)
        dropped = await raw.post(event("typing", {"username": name("bob"), "isTyping": True}))
        assert_rate_limited(await raw.ask(LIST))
        assert dropped not in raw.acks
        assert [error["event"] for error in raw.of("error")] == ["list_chats"]


async def test_bytes_are_limited_even_if_events_are_few(edges: Mapping[str, Edge], name: Name) -> None:
    mallory = name("mallory")
    async with RawClient(edges["10 kB"], mallory) as raw:
        assert (await raw.ask(padded(mallory, 9_000)))["success"]
        refusal = await raw.ask(padded(mallory, 9_000))
        assert (refusal["code"], refusal["retryable"]) == ("rate_limited", True)
        assert (await raw.ask(LIST))["success"]


async def test_a_user_who_ignores_refusals_is_cut_off_and_nobody_else(few: Edge, name: Name) -> None:
    mallory = name("mallory")
    async with RawClient(few, name("bob")) as bob, RawClient(few, mallory) as raw:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(1_000):
                await raw.post(LIST)
        assert await raw.closed() == 1006
        refused = [ack for ack in raw.acks.values() if not ack["success"]]
        assert len(refused) <= 31, "ten times the limit, and one if it took long"
        assert (await bob.ask(LIST))["success"]
        async with RawClient(few, mallory) as again:
            assert await again.expect("connection_success")


async def test_a_thousand_events_in_one_poll_cut_the_connection_off(few: Edge, name: Name) -> None:
    async with RawClient(few, name("bob")) as bob, RawPolling(few, name("mallory")) as polling:
        await polling.post(*(f"42{number}{LIST}" for number in range(1_000)))
        assert (await polling.post(f"42{LIST}")).status_code == 400
        assert (await bob.ask(LIST))["success"]


async def send_ping(raw: RawClient) -> None:
    await raw.ws.ping()


async def send_pong(raw: RawClient) -> None:
    await raw.ws.pong()


async def send_fragments(raw: RawClient) -> None:
    await raw.ws.send(["4", "3", "1", "[]"])


def sending(frame: str | bytes) -> Callable[[RawClient], Awaitable[None]]:
    async def send(raw: RawClient) -> None:
        await raw.send(frame)

    return send


NOISE: dict[str, Callable[[RawClient], Awaitable[None]]] = {
    "upgrades": sending("5"),
    "pongs": sending("3"),
    "connects": sending("40"),
    "acks": sending("431[]"),
    "acks with long ids": sending(f"43{'9' * 20}[]"),
    "websocket pings": send_ping,
    "websocket pongs": send_pong,
    "fragments": send_fragments,
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
async def test_a_client_that_sends_noise_without_end_is_cut_off(
    few: Edge, name: Name, noise: Callable[[RawClient], Awaitable[None]]
) -> None:
    async with RawClient(few, name("mallory")) as raw:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(1_000):
                await noise(raw)
        assert await raw.closed() == 1006


BREACHES: dict[str, str | bytes] = {
    "malformed events": "49",
    "unfinished events": "42[",
    "binary": b"x",
    "other namespaces": "42/x,[]",
    "pings": "2",
    "binary acks": "461-1[]",
    "attachments that never come": '451-["send_message",{}]',
    "acks in other namespaces": "43/x,1[]",
}


@pytest.mark.parametrize("breach", BREACHES.values(), ids=BREACHES)
async def test_a_client_that_breaks_the_protocol_is_closed_before_it_can_do_so_again(
    few: Edge, name: Name, breach: str | bytes
) -> None:
    async with RawClient(few, name("mallory")) as raw:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(1_000):
                await raw.send(breach)
        assert await raw.closed() is not None
        assert len(raw.of("error")) <= 1


async def test_a_client_that_polls_noise_without_end_is_cut_off(few: Edge, name: Name) -> None:
    async with RawPolling(few, name("mallory")) as polling:
        for _ in range(100):
            if (await polling.post("431[]")).status_code == 400:
                break
        assert (await polling.post("431[]")).status_code == 400


async def test_a_client_that_only_polls_for_its_messages_is_never_cut_off(
    few: Edge, edges: Mapping[str, Edge], client: ClientFactory, name: Name
) -> None:
    mallory = name("mallory")
    async with RawPolling(few, mallory) as polling:
        # Once mallory is answered, others can write to her.
        await polling.post(f"421{LIST}")
        await polling.expect("431")
        bob = await client(name("bob")).connect(edges["defaults"])
        for number in range(1, 51):
            assert (await bob.send(mallory, f"{number}"))["success"]
            frames = await polling.expect("42", number + 2)
            ack_id = frames[-1][2:].partition("[")[0]
            await polling.post(f"43{ack_id}[]")
        assert (await polling.post(f"421{LIST}")).status_code == 200


async def test_a_large_ack_is_not_free(edges: Mapping[str, Edge], name: Name) -> None:
    async with RawClient(edges["10 kB"], name("mallory")) as raw:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100):
                await raw.send(f"431[{'1' * 20_000}]")
        assert await raw.closed() == 1006


async def test_what_a_busy_user_does_stays_within_the_defaults(
    edges: Mapping[str, Edge], client: ClientFactory, name: Name
) -> None:
    edge = edges["defaults"]
    alice = name("alice")
    for _ in range(30):
        async with RawClient(edge, alice) as raw:
            assert (await raw.ask(LIST))["success"]
    one = await client(alice).connect(edge)
    acks = await asyncio.gather(*(one.send(alice, f"{number}") for number in range(50)))
    assert all(ack["success"] for ack in acks), json.dumps(acks)
    assert one.of("error") == []
