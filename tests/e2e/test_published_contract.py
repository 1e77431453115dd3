"""Everything that real edges and workers send is as the published contract says."""

import json
from contextlib import AsyncExitStack
from typing import Any

from infra.wire.registry import CLIENT_COMMANDS, SERVER_EVENTS
from tests.conftest import Name
from tests.contract.published import validator
from tests.harness.deployment import Deployment, Edge, make_token, with_profile
from tests.harness.raw import RawClient, event, open_websocket

NOBODY = "01a209cf-d79e-719c-ba78-97bf693d6acc"


async def test_every_event_and_ack_is_as_published(two_edges: Deployment, edge: Edge, name: Name) -> None:
    alice, bob, carol = (with_profile(two_edges, name(one)) for one in ("alice", "bob", "carol"))
    async with AsyncExitStack() as open_clients:
        his = await open_clients.enter_async_context(RawClient(edge, bob))
        async with RawClient(edge, alice) as hers:
            acks = await say_everything(hers, his, alice, bob)
            async with RawClient(edge, carol) as stranger:
                acks |= await keep_the_peace(hers, stranger, alice, carol)
            await hers.expect("ping")
        # Only now is she offline.
        await his.wait_for(lambda: any(one["status"] == "offline" for one in his.of("user_status")))
    assert set(acks) == set(CLIENT_COMMANDS)
    for command, ack in acks.items():
        validator(CLIENT_COMMANDS[command].ack.__name__, is_closed=True).validate(ack)
    received = [*hers.events, *his.events]
    assert {event for event, _ in received} == set(SERVER_EVENTS)
    for event_name, payload in received:
        validator(SERVER_EVENTS[event_name].payload.__name__, is_closed=True).validate(payload)
    for client in (hers, his):
        for event_name, asks_for_ack in events_and_acks(client):
            assert asks_for_ack == SERVER_EVENTS[event_name].asks_for_ack, event_name


async def say_everything(hers: RawClient, his: RawClient, alice: str, bob: str) -> dict[str, Any]:
    """Send every client event of two who know each other; return the acks by event."""
    acks: dict[str, Any] = {}

    async def say(client: RawClient, command: str, payload: Any) -> Any:
        acks[command] = await client.ask(event(command, payload))
        return acks[command]

    chat_id = (await say(his, "join_chat", {"username": alice}))["chatId"]
    await say(hers, "send_message", {"username": bob, "text": "Hällo 👋", "clientId": "c-1"})
    await his.expect("new_message")
    await his.send(f"43{ack_id_of(his, 'new_message')}[]")
    await hers.expect("message_status")
    message = {"chatId": chat_id, "seq": 1}
    await say(his, "report", {**message, "reason": "spam", "note": "again"})
    await say(hers, "edit_message", {**message, "text": "Hallo", "data": {"image": "a.png"}})
    await say(his, "react", {**message, "emoji": "👍", "on": True})
    await say(his, "send_message", {"username": alice, "text": "Hi", "replyTo": 1})
    await hers.expect("message_changed")
    await say(his, "unsend_message", {**message, "seq": 2})
    await say(hers, "clear_chat", {"chatId": chat_id, "upTo": 1})
    await hers.expect("chat_changed")
    await say(hers, "typing", {"username": bob, "isTyping": True})
    await his.expect("typing")
    await say(his, "mark_as_read", {"chatId": chat_id, "upTo": 1})
    await say(hers, "get_messages", {"chatId": chat_id})
    await say(hers, "set_chat", {"chatId": chat_id, "mutedUntil": "2030-01-01T00:00:00Z", "pinned": True})
    await say(hers, "list_chats", {"since": None})
    await say(hers, "sync", {"cursors": {chat_id: {"seq": 2, "change": 0}, NOBODY: 0}})
    device = await say(hers, "register_device", {"channel": "fcm", "address": f"phone-{alice}"})
    await say(hers, "unregister_device", {"deviceId": device["deviceId"]})
    await say(hers, "refresh_token", {"token": make_token(alice)})
    failed = await hers.ask(event("send_message", {"username": bob, "text": "", "clientId": "c-2"}))
    validator("ErrorAck", is_closed=True).validate(failed)
    await hers.expect("error")
    return acks


async def keep_the_peace(hers: RawClient, stranger: RawClient, alice: str, carol: str) -> dict[str, Any]:
    """Send the client events about people who do not know each other; return the acks by event."""
    acks = {
        "update_settings": await hers.ask(event("update_settings", {"messagesFrom": "requests"})),
        "get_settings": await hers.ask(event("get_settings", {})),
    }
    request = await stranger.ask(event("send_message", {"username": alice, "text": "Do you know me?"}))
    of_chat = {"chatId": request["message"]["chatId"]}
    acks["decline_chat"] = await hers.ask(event("decline_chat", of_chat))
    acks["accept_chat"] = await hers.ask(event("accept_chat", of_chat))
    acks["block_user"] = await hers.ask(event("block_user", {"username": carol}))
    acks["list_blocked"] = await hers.ask(event("list_blocked", {}))
    for ack in (
        await hers.ask(event("join_chat", {"username": carol})),
        await stranger.ask(event("join_chat", {"username": alice})),
    ):
        validator("JoinAck", is_closed=True).validate(ack)
    acks["unblock_user"] = await hers.ask(event("unblock_user", {"username": carol}))
    await hers.wait_for(
        lambda: {"requests", "declined", "inbox"} <= {one["box"] for one in hers.of("chat_changed")}
    )
    await hers.expect("settings_changed")
    return acks


async def test_a_refused_connection_is_as_published(edge: Edge) -> None:
    async with open_websocket(edge) as websocket:
        await websocket.send('40{"token":"no token"}')
        frames = [str(await websocket.recv()) for _ in range(2)]
    (refusal,) = (frame for frame in frames if frame.startswith("44"))
    validator("ErrorEvent", is_closed=True).validate(json.loads(refusal[2:])["data"])


def events_and_acks(client: RawClient) -> list[tuple[str, bool]]:
    """Return the name of each event that a client received, and whether it asked for an ack."""
    frames = [frame[2:].partition("[") for frame in client.frames if frame.startswith("42")]
    return [(json.loads(f"[{rest}")[0], number != "") for number, _, rest in frames]


def ack_id_of(client: RawClient, event_name: str) -> str:
    """Return the id of the ack that the first event of a name asked for."""
    frame = next(frame for frame in client.frames if frame.startswith("42") and f'["{event_name}"' in frame)
    return frame[2:].partition("[")[0]
