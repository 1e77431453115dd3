"""A lookalike of a username finds its owner; names that look like nothing belong to nobody."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Name
from tests.harness.deployment import Deployment, user_id_of
from tests.harness.raw import RawClient

WIDE = {ord("b"): "\uff42", ord("o"): "\uff2f"}
DISGUISES: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "full width": lambda name: name.translate(WIDE),
    "zero-width space": "\u200b".join,
    "zero-width joiners": lambda name: f"\u200d{name}\u200c",
    "byte order mark": lambda name: f"\ufeff{name}",
    "right-to-left override": lambda name: f"\u202e{name}\u202c",
    "isolate": lambda name: f"\u2067{name}\u2069",
    "marks of direction": lambda name: f"\u200e{name}\u200f\u061c",
    "soft hyphen": "\u00ad".join,
    "joiner of graphemes": lambda name: f"{name[0]}\u034f{name[1:]}",
    "variation selector": lambda name: f"{name}\ufe0f",
    "Hangul filler": lambda name: f"{name}\u3164",
    "half-width filler": lambda name: f"{name}\uffa0",
    "tag": lambda name: f"{name}\U000e0020",
    "spaces around": lambda name: f" \u2003{name}\u00a0",
}
ABOUT_A_USER: dict[str, dict[str, Any]] = {
    "send_message": {"text": "hi"},
    "join_chat": {},
    "typing": {"isTyping": True},
}


def event(command: str, username: str) -> str:
    return json.dumps([command, {"username": username, **ABOUT_A_USER[command]}])


@pytest.mark.parametrize("command", ABOUT_A_USER)
@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
async def test_a_name_in_disguise_finds_the_one_who_has_it(
    chat: Deployment, name: Name, disguise: Callable[[str], str], command: str
) -> None:
    bob = name("Bob")
    async with RawClient(chat.edges[0], bob) as his, RawClient(chat.edges[0], name("alice")) as hers:
        assert (await hers.ask('["list_chats",{}]'))["success"]
        await his.ask(event("join_chat", name("alice")))
        ack = await hers.ask(event(command, disguise(bob)))
        assert ack["success"], ack
        if command == "join_chat":
            assert (ack["peer"]["userId"], ack["peer"]["username"]) == (user_id_of(bob), bob)
        elif command == "send_message":
            assert ack["message"]["recipientId"] == user_id_of(bob)
            assert ack["message"]["recipientUsername"] == bob
            assert (await his.expect("new_message"))["senderUsername"] == name("alice")
        else:
            assert (await his.expect("typing"))["userId"] == user_id_of(name("alice"))


@pytest.mark.parametrize("kind", [kind for kind in DISGUISES if kind != "capitals"])
async def test_nobody_gets_the_name_of_another_in_disguise(chat: Deployment, name: Name, kind: str) -> None:
    bob, disguise = name("Bob"), DISGUISES[kind]
    assert user_id_of(disguise(bob)) != user_id_of(bob)
    async with RawClient(chat.edges[0], bob) as his:
        assert (await his.ask(event("join_chat", bob)))["success"]
        async with RawClient(chat.edges[0], disguise(bob)) as impostor:
            assert (await impostor.ask(event("send_message", bob)))["code"] == "profile_missing"
        assert his.of("new_message") == []
    assert chat.rows("SELECT 1 FROM profiles WHERE id = :i", i=user_id_of(disguise(bob))) == []


ODD = {
    "control": "a\x07b{}",
    "NUL": "a\0b{}",
    "line feed": "a\nb{}",
    "override": "a\u202eb{}",
    "zero width": "a\u200bb{}",
    "tag": "a\U000e0041b{}",
    "blank of Braille": "bob{}\u2800",
    "only fillers": "\u3164\u3164",
    "only a selector": "\ufe0f",
    "leading mark": "\u0301bob{}",
    "pile of marks": "b" + "\u0300\u0301\u0302\u0303\u0304\u0306\u0307" * 5 + "{}",
    "the same mark twice": "bo\u0301\u0301b{}",
    "spaces": "   ",
    "too long": "x" * 65,
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_a_name_that_cannot_be_seen_or_read_belongs_to_nobody(
    chat: Deployment, name: Name, odd: str
) -> None:
    username = odd.format(name(""))
    async with RawClient(chat.edges[0], username) as raw:
        assert (await raw.ask(event("join_chat", name("x"))))["code"] == "profile_missing"
    assert chat.rows("SELECT 1 FROM profiles WHERE id = :i", i=user_id_of(username)) == []


@pytest.mark.parametrize(
    "base",
    [
        "Nguy\u1ec5n",
        "e\u0301mile",
        "\u05d3\u05d5\u05d3",
        "\ud55c",
        "\u674e",
        "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
        "O\u00b4Brien",
        "\u2764\ufe0f",
    ],
)
async def test_a_name_of_any_language_is_shown_as_its_owner_writes_it(
    chat: Deployment, name: Name, base: str
) -> None:
    async with RawClient(chat.edges[0], name(base)) as raw:
        ack = await raw.ask(event("join_chat", name(base).upper()))
        assert ack["peer"]["username"] == name(base)


async def test_the_longest_name_that_folds_to_the_longest_key_can_be_had_and_found(chat: Deployment) -> None:
    longest = "\ufdfa" * 64  # each of them folds to eighteen characters
    async with RawClient(chat.edges[0], longest) as raw:
        assert (await raw.ask(event("join_chat", longest)))["peer"]["username"] == longest
