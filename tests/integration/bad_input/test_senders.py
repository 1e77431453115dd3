"""Whoever a payload names, the user of the token is the one who acts."""

from typing import Any

import pytest

from infra.wire.registry import CLIENT_COMMANDS
from tests.harness.deployment import Deployment, make_token, user_id_of, with_profile
from tests.harness.raw import RawClient, event

Payload = dict[str, Any]

WRITING = {
    *("send_message", "edit_message", "unsend_message", "react", "clear_chat"),
    "report",
    *("join_chat", "mark_as_read", "register_device", "unregister_device"),
}
"""Commands that change what the user has in the store."""


def payloads(me: str, chat_id: str, device_id: str, shared_id: str) -> dict[str, Payload]:
    """Return for each command what a user sends: about their own notes and device, or a chat with a peer."""
    return {
        "send_message": {"username": me, "text": "a note"},
        "edit_message": {"chatId": chat_id, "seq": 1, "text": "my own"},
        "unsend_message": {"chatId": chat_id, "seq": 1},
        "react": {"chatId": chat_id, "seq": 1, "emoji": "👍", "on": True},
        "clear_chat": {"chatId": chat_id},
        "join_chat": {"username": me},
        "mark_as_read": {"chatId": chat_id},
        "get_messages": {"chatId": chat_id},
        "list_chats": {},
        "sync": {"cursors": {}},
        "typing": {"chatId": chat_id, "isTyping": True},
        "report": {"chatId": shared_id, "seq": 1, "reason": "spam"},
        "register_device": {"channel": "fcm", "address": f"phone-of-{me}"},
        "unregister_device": {"deviceId": device_id},
        "refresh_token": {"token": make_token(me)},
    }


def naming(client: RawClient, username: str) -> Payload:
    """Return fields that name a user and their socket, under all names that a sender might have."""
    (greeting,) = client.of("connection_success")
    ids = {"sender": user_id_of(username), "user": user_id_of(username), "socket": greeting["socketId"]}
    fields = {key: id_ for name, id_ in ids.items() for key in (name, f"{name}Id", f"{name}_id")}
    return {**fields, "senderUsername": username, "sub": user_id_of(username)}


async def settle_in(client: RawClient, username: str) -> tuple[str, str]:
    """Write a note to self and register a device; return the ids of chat and device."""
    note = await client.ask(event("send_message", {"username": username, "text": "mine"}))
    watch = {"channel": "fcm", "address": f"watch-of-{username}"}
    return note["message"]["chatId"], (await client.ask(event("register_device", watch)))["deviceId"]


def belongings(chat: Deployment, username: str) -> list[Any]:
    """Return what a user has in the store."""
    return [
        chat.rows(f"SELECT * FROM {table} WHERE {column} = :id ORDER BY 1, 2", id=user_id_of(username))
        for table, column in (
            ("messages", "sender_id"),
            ("chat_members", "user_id"),
            ("devices", "user_id"),
            ("reports", "reporter_id"),
        )
    ]


def chats_in(ack: Payload) -> set[str]:
    """Return the ids of the chats that an answer shows."""
    return {
        shown["chatId"] for shown in (ack, ack.get("message", {}), *ack.get("chats", ())) if "chatId" in shown
    }


@pytest.mark.parametrize("command", CLIENT_COMMANDS)
async def test_a_payload_that_names_another_user_acts_for_the_user_of_the_token(
    chat: Deployment, raw: RawClient, mallory: str, command: str
) -> None:
    alice = with_profile(chat, f"alice_{mallory}")
    chat_id, device_id = await settle_in(raw, mallory)
    async with RawClient(chat.edges[0], alice) as hers:
        await settle_in(hers, alice)
        letter = await hers.ask(event("send_message", {"username": mallory, "text": "to you"}))
        shared_id = letter["message"]["chatId"]
        before, mine = belongings(chat, alice), belongings(chat, mallory)
        own = payloads(mallory, chat_id, device_id, shared_id)[command]
        ack = await raw.ask(event(command, {**naming(hers, alice), **own}))
        assert ack["success"], ack
        assert chats_in(ack) <= {chat_id, shared_id}
        assert belongings(chat, alice) == before
        assert (belongings(chat, mallory) != mine) is (command in WRITING)
