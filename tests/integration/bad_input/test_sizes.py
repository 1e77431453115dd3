"""Payloads that are too large or nested too deep."""

import contextlib

import pytest
from websockets.exceptions import ConnectionClosed

from tests.harness.deployment import Deployment
from tests.harness.raw import RawClient, event, padded
from tests.integration.bad_input.refusals import assert_alive, assert_refused


async def test_a_payload_of_exactly_the_limit_works(raw: RawClient, mallory: str) -> None:
    assert (await raw.ask(padded(mallory, 65_536)))["success"]


async def test_a_payload_just_over_the_limit_is_refused(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    await assert_refused(chat, raw, mallory, padded(mallory, 65_537), "payload_too_large", "send_message")


async def test_a_payload_of_ten_megabytes_closes_the_connection_and_nothing_else(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    async with RawClient(chat.edges[0], mallory) as other:
        with contextlib.suppress(ConnectionClosed):
            await raw.send(f"421{padded(mallory, 10_000_000)}")
        assert await raw.closed() == 1009
        await assert_alive(other, mallory)


def nested(username: str, depth: int) -> str:
    return f'["send_message",{{"username":"{username}","text":"hi","x":{"[" * depth}{"]" * depth}}}]'


@pytest.mark.parametrize("depth", [31, 100, 800, 900, 950, 980, 1_000, 10_000, 30_000])
async def test_a_payload_that_is_nested_too_deep_is_refused(
    chat: Deployment, raw: RawClient, mallory: str, depth: int
) -> None:
    await assert_refused(chat, raw, mallory, nested(mallory, depth), "invalid_payload", "send_message")


async def test_a_payload_nested_a_hundred_thousand_deep_is_too_large(
    chat: Deployment, raw: RawClient, mallory: str
) -> None:
    await assert_refused(chat, raw, mallory, nested(mallory, 100_000), "payload_too_large", "send_message")


async def test_brackets_in_a_text_are_not_nesting(raw: RawClient, mallory: str) -> None:
    text = '[{"\\' * 1_000
    ack = await raw.ask(event("send_message", {"username": mallory, "text": text}))
    assert ack["message"]["text"] == text
