"""Whoever a payload names, the user of the token is the one who acts."""

from dataclasses import dataclass
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
    *("block_user", "unblock_user", "update_settings", "accept_chat", "decline_chat", "set_chat"),
}
"""Commands that change what the user has in the store."""


@dataclass(frozen=True)
class Home:
    """What a user has: notes to self, a device, an empty chat with a friend, and one with a blocked user."""

    notes: str
    device: str
    friend: str
    with_friend: str
    foe: str
    with_foe: str


def payloads(me: str, home: Home) -> dict[str, Payload]:
    """Return for each command what a user sends about what is theirs."""
    return {
        "send_message": {"username": me, "text": "a note"},
        "edit_message": {"chatId": home.notes, "seq": 1, "text": "my own"},
        "unsend_message": {"chatId": home.notes, "seq": 1},
        "react": {"chatId": home.notes, "seq": 1, "emoji": "👍", "on": True},
        "clear_chat": {"chatId": home.notes},
        "join_chat": {"username": me},
        "mark_as_read": {"chatId": home.notes},
        "get_messages": {"chatId": home.notes},
        "list_chats": {},
        "sync": {"cursors": {}},
        "typing": {"chatId": home.notes, "isTyping": True},
        "block_user": {"username": home.friend},
        "unblock_user": {"username": home.foe},
        "list_blocked": {},
        "get_settings": {},
        "update_settings": {"messagesFrom": "requests"},
        "accept_chat": {"chatId": home.with_friend},
        "decline_chat": {"chatId": home.with_friend},
        "set_chat": {"chatId": home.notes, "pinned": True},
        "report": {"chatId": home.with_foe, "seq": 1, "reason": "spam"},
        "register_device": {"channel": "fcm", "address": f"phone-of-{me}"},
        "unregister_device": {"deviceId": home.device},
        "refresh_token": {"token": make_token(me)},
    }


def naming(client: RawClient, username: str) -> Payload:
    """Return fields that name a user and their socket, under all names that a sender might have."""
    (greeting,) = client.of("connection_success")
    ids = {"sender": user_id_of(username), "user": user_id_of(username), "socket": greeting["socketId"]}
    fields = {key: id_ for name, id_ in ids.items() for key in (name, f"{name}Id", f"{name}_id")}
    return {**fields, "senderUsername": username, "sub": user_id_of(username)}


async def settle_in(chat: Deployment, client: RawClient, username: str) -> Home:
    """Write a note to self, register a device, open a chat with a friend, and block who has written."""
    friend, foe = (with_profile(chat, f"{one}_{username}") for one in ("friend", "foe"))
    async with RawClient(chat.edges[0], foe) as theirs:
        await theirs.ask(event("send_message", {"username": username, "text": "to you"}))
    note = await client.ask(event("send_message", {"username": username, "text": "mine"}))
    watch = {"channel": "fcm", "address": f"watch-of-{username}"}
    return Home(
        notes=note["message"]["chatId"],
        device=(await client.ask(event("register_device", watch)))["deviceId"],
        friend=friend,
        with_friend=(await client.ask(event("join_chat", {"username": friend})))["chatId"],
        foe=foe,
        with_foe=(await client.ask(event("block_user", {"username": foe})))["chatId"],
    )


_BELONGINGS = (
    "SELECT * FROM messages WHERE sender_id = :id ORDER BY chat_id, seq",
    "SELECT * FROM chat_members WHERE user_id = :id ORDER BY chat_id",
    "SELECT * FROM devices WHERE user_id = :id ORDER BY id",
    "SELECT id, lo_box, hi_box, lo_blocked_at, hi_blocked_at FROM chats"
    " WHERE :id IN (user_lo, user_hi) ORDER BY id",
    "SELECT messages_from, read_receipts, show_presence, push_texts FROM profiles WHERE id = :id",
    "SELECT * FROM reports WHERE reporter_id = :id ORDER BY id",
)


def belongings(chat: Deployment, username: str) -> list[Any]:
    """Return what a user has in the store."""
    return [chat.rows(sql, id=user_id_of(username)) for sql in _BELONGINGS]


def chats_in(ack: Payload) -> set[str]:
    """Return the ids of the chats that an answer shows."""
    lists = (*ack.get("chats", ()), *ack.get("users", ()))
    shown = (ack, ack.get("message", {}), ack.get("chat", {}), *lists)
    return {one["chatId"] for one in shown if "chatId" in one}


@pytest.mark.parametrize("command", CLIENT_COMMANDS)
async def test_a_payload_that_names_another_user_acts_for_the_user_of_the_token(
    chat: Deployment, raw: RawClient, mallory: str, command: str
) -> None:
    alice = with_profile(chat, f"alice_{mallory}")
    home = await settle_in(chat, raw, mallory)
    async with RawClient(chat.edges[0], alice) as hers:
        await settle_in(chat, hers, alice)
        before, mine = belongings(chat, alice), belongings(chat, mallory)
        names = naming(hers, alice)
        if "user_id" in CLIENT_COMMANDS[command].payload.__struct_fields__:
            del names["userId"]  # the recipient, and not the sender
        ack = await raw.ask(event(command, {**names, **payloads(mallory, home)[command]}))
        assert ack["success"], ack
        assert chats_in(ack) <= {home.notes, home.with_friend, home.with_foe}
        assert belongings(chat, alice) == before
        assert (belongings(chat, mallory) != mine) is (command in WRITING)
