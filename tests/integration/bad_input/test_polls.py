"""Bad input over long polling."""

import pytest

from tests.harness.deployment import Deployment
from tests.harness.raw import RawClient, RawPolling, event, padded
from tests.integration.bad_input.refusals import assert_alive, traces


async def test_a_hundred_sends_in_one_poll_are_all_answered(
    chat: Deployment, polling: RawPolling, mallory: str
) -> None:
    sends = [f"42{n}{event('send_message', {'username': mallory, 'text': f'{n}'})}" for n in range(100)]
    assert (await polling.post(*sends)).status_code == 200
    assert len(await polling.expect("43", 100)) == 100
    assert traces(chat, mallory)[0] == 100


async def test_refused_packets_between_good_ones_in_one_poll_harm_nobody(
    chat: Deployment, polling: RawPolling, mallory: str
) -> None:
    good = event("send_message", {"username": mallory, "text": "hi"})
    bad = ('451-["send_message",{}]', "bAAEC", '42["connect",{}]', "43[]", "42[5]", "0", "6")
    await polling.post(f"421{good}", *bad, f"422{good}")
    acks = await polling.expect("43", 2)
    assert all('"success":true' in ack for ack in acks)
    assert traces(chat, mallory) == [2, 1, 0, 0]


async def test_a_poll_just_over_the_limit_is_refused_and_the_connection_lives(
    chat: Deployment, polling: RawPolling, mallory: str
) -> None:
    await polling.post(f"421{padded(mallory, 65_537)}")
    (ack,) = await polling.expect("431")
    assert '"payload_too_large"' in ack
    await polling.post(f"422{event('send_message', {'username': mallory, 'text': 'hi'})}")
    await polling.expect("432")


async def test_a_poll_of_ten_megabytes_harms_nobody_else(
    chat: Deployment, polling: RawPolling, raw: RawClient, mallory: str
) -> None:
    assert (await polling.post_body(b"4" * 10_000_000)).status_code == 413
    await assert_alive(raw, mallory)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"x", b"", b"\x1e\x1e", b"4\xed\xa0\x80", b"b!!!"], ids=repr)
async def test_a_malformed_body_harms_nobody_else(
    chat: Deployment, polling: RawPolling, raw: RawClient, mallory: str, body: bytes
) -> None:
    assert (await polling.post_body(body)).status_code == 400
    await assert_alive(raw, mallory)
