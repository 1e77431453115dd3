"""Reactions to one message, as fast as a client can send them."""

from typing import Any

from tests.harness.deployment import Deployment
from tests.harness.raw import RawClient, event
from workers.handlers.react import REACTIONS

EMOJIS = "👍🎉😀🙈🐘🍎🚀🌍🏆🎲🎻🥝"
"""More than a user may have on a message."""


async def message_to(username: str, sender: RawClient) -> dict[str, Any]:
    """Have a message sent; return its chat and seq, as events name it."""
    sent = (await sender.ask(event("send_message", {"username": username, "text": "hi"})))["message"]
    return {"chatId": sent["chatId"], "seq": sent["seq"]}


def toggles(message: dict[str, Any], rounds: int) -> list[str]:
    """Return events that add all the reactions and take them back, so many times."""
    once = [event("react", {**message, "emoji": emoji, "on": on}) for on in (True, False) for emoji in EMOJIS]
    return rounds * once


async def assert_bounded(
    target: Deployment, peer: RawClient, message: dict[str, Any], at_the_end: int | None = None
) -> None:
    """Assert that the peer was never told of too many reactions, and is shown those that are stored."""
    (page,) = (await peer.ask(event("get_messages", {"chatId": message["chatId"]})))["messages"]
    (row,) = target.rows("SELECT reactions FROM messages WHERE chat_id = :id", id=message["chatId"])
    stored = [emoji for emoji, _ in row.reactions or ()]
    shown = [[one["emoji"] for one in state.get("reactions", ())] for state in peer.of("message_changed")]
    assert shown
    assert max(map(len, shown)) <= REACTIONS
    assert [one["emoji"] for one in page.get("reactions", ())] == stored
    assert at_the_end in (None, len(stored))
