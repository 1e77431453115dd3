"""The same send, tried again: one answer, stored once."""

import asyncio

from tests.harness.deployment import Deployment, with_profile
from tests.harness.raw import RawClient, event
from tests.integration.bad_input.refusals import traces


async def test_a_retry_gets_the_same_answer_and_is_stored_once(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    data = event("send_message", {"username": bob, "text": "once", "clientId": "c1"})
    assert await raw.ask(data) == await raw.ask(data)
    assert traces(chat, mallory)[0] == 1


async def test_a_retry_after_a_reconnect_gets_the_same_answer(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    data = event("send_message", {"username": bob, "text": "once", "clientId": "c1"})
    first = await raw.ask(data)
    await raw.ws.close()
    async with RawClient(chat.edges[0], mallory) as again:
        assert await again.ask(data) == first
    assert traces(chat, mallory)[0] == 1


async def test_the_same_client_id_on_two_sockets_at_once_is_stored_once(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    async with RawClient(chat.edges[0], mallory) as other:
        for number in range(20):
            data = event("send_message", {"username": bob, "text": "once", "clientId": f"c{number}"})
            one, two = await asyncio.gather(raw.ask(data), other.ask(data))
            assert one == two
    assert traces(chat, mallory)[0] == 20


async def test_a_burst_of_one_client_id_is_stored_once(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    data = event("send_message", {"username": bob, "text": "once", "clientId": "c1"})
    posted = [await raw.post(data) for _ in range(50)]
    ids = {(await raw.ack_of(ack_id))["message"]["id"] for ack_id in posted}
    assert (len(ids), traces(chat, mallory)[0]) == (1, 1)


async def test_a_bad_event_in_a_burst_harms_no_other(chat: Deployment, raw: RawClient, mallory: str) -> None:
    bob = with_profile(chat, f"bob_{mallory}")
    texts = ["" if n % 3 == 0 else f"{n}" for n in range(60)]
    posted = [await raw.post(event("send_message", {"username": bob, "text": text})) for text in texts]
    acks = [await raw.ack_of(ack_id) for ack_id in posted]
    assert [ack["success"] for ack in acks] == [bool(text) for text in texts]
    assert [ack["message"]["seq"] for ack in acks if ack["success"]] == [*range(1, 41)]
