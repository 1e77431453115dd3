"""Reading history: gaps, pages and the list of chats, without holes or duplicates."""

import asyncio
import uuid
from itertools import pairwise, product
from random import Random

import pytest

from tests.conftest import Name
from tests.e2e.conftest import Arrive
from tests.harness.client import Client, Payload
from tests.harness.deployment import Deployment, Edge


@pytest.fixture
def edge(chat: Deployment) -> Edge:
    return chat.edges[0]


async def talk(one: Client, other: Client, count: int) -> str:
    """Let two users send each other messages in turns of random length; return the chat's id."""
    random = Random(count)
    senders = [random.choice(((one, other), (other, one))) for _ in range(count)]
    acks = await asyncio.gather(
        *(sender.send(recipient.username, str(number)) for number, (sender, recipient) in enumerate(senders))
    )
    (chat_id,) = {ack["message"]["chatId"] for ack in acks}
    return str(chat_id)


def seqs(page: Payload) -> list[int]:
    return [message["seq"] for message in page["messages"]]


async def gaps(client: Client, cursors: dict[str, int]) -> dict[str, list[int]]:
    ack = await client.call("sync", {"cursors": cursors})
    assert ack["success"], ack
    assert not any(chat["hasMore"] for chat in ack["chats"])
    return {chat["chatId"]: seqs(chat) for chat in ack["chats"]}


async def test_sync_returns_exactly_the_gap_of_each_chat(edge: Edge, arrive: Arrive, name: Name) -> None:
    alice, bob, carol = [await arrive(name(base), edge) for base in ("alice", "bob", "carol")]
    lengths = {await talk(alice, bob, 7): 7, await talk(alice, carol, 4): 4}
    for cursors in product(*(range(length + 1) for length in lengths.values())):
        expected = {
            chat_id: list(range(cursor + 1, length + 1))
            for (chat_id, length), cursor in zip(lengths.items(), cursors, strict=True)
            if cursor < length
        }
        assert await gaps(alice, dict(zip(lengths, cursors, strict=True))) == expected


async def test_sync_takes_a_chat_without_a_cursor_as_one_from_the_start(
    edge: Edge, arrive: Arrive, name: Name
) -> None:
    alice, bob, carol = [await arrive(name(base), edge) for base in ("alice", "bob", "carol")]
    known, unknown = await talk(alice, bob, 5), await talk(alice, carol, 3)
    assert await gaps(alice, {known: 5}) == {unknown: [1, 2, 3]}
    assert await gaps(alice, {}) == {known: [1, 2, 3, 4, 5], unknown: [1, 2, 3]}


async def test_sync_holds_the_messages_themselves(edge: Edge, arrive: Arrive, name: Name) -> None:
    alice, bob = await arrive(name("alice"), edge), await arrive(name("bob"), edge)
    chat_id = await talk(alice, bob, 6)
    synced = (await bob.call("sync", {"cursors": {chat_id: 2}}))["chats"][0]["messages"]
    stored = (await bob.call("get_messages", {"chatId": chat_id, "after": 2}))["messages"]
    # One status may be older than the other: receipts arrive later.
    assert [{**message, "status": None} for message in synced] == [
        {**message, "status": None} for message in stored
    ]
    assert all(message["chatId"] == chat_id for message in synced)


async def test_sync_has_nothing_for_a_cursor_beyond_the_end(edge: Edge, arrive: Arrive, name: Name) -> None:
    alice, bob = await arrive(name("alice"), edge), await arrive(name("bob"), edge)
    chat_id = await talk(alice, bob, 3)
    assert await gaps(alice, {chat_id: 4}) == {}


async def test_a_gap_longer_than_an_answer_is_closed_by_asking_again(
    edge: Edge, arrive: Arrive, name: Name
) -> None:
    alice = await arrive(name("alice"), edge)
    peers = [await arrive(name(f"peer_{number}"), edge) for number in range(7)]
    lengths = {
        await talk(alice, peer, length): length for peer, length in zip(peers, [230, *[90] * 6], strict=True)
    }
    cursors: dict[str, int] = {}
    got: dict[str, list[int]] = {chat_id: [] for chat_id in lengths}
    more = True
    while more:
        ack = await alice.call("sync", {"cursors": cursors})
        more = any(chat["hasMore"] for chat in ack["chats"])
        for chat in ack["chats"]:
            got[chat["chatId"]] += seqs(chat)
            cursors[chat["chatId"]] = len(got[chat["chatId"]])
    assert got == {chat_id: list(range(1, length + 1)) for chat_id, length in lengths.items()}


async def test_chats_that_do_not_fit_into_an_answer_are_listed_without_messages(
    edge: Edge, arrive: Arrive, name: Name
) -> None:
    alice = await arrive(name("alice"), edge)
    peers = [await arrive(name(f"peer_{number}"), edge) for number in range(7)]
    chat_ids = [await talk(alice, peer, 100) for peer in peers]
    listed = (await alice.call("sync", {"cursors": {}}))["chats"]
    assert [chat["chatId"] for chat in listed] == chat_ids[::-1]
    assert [seqs(chat) for chat in listed] == 5 * [list(range(1, 101))] + 2 * [[]]
    assert [chat["hasMore"] for chat in listed] == 5 * [False] + 2 * [True]


async def test_sync_answers_for_the_other_chats_and_names_those_that_are_gone(
    edge: Edge, arrive: Arrive, name: Name
) -> None:
    alice, bob, eve = [await arrive(name(base), edge) for base in ("alice", "bob", "eve")]
    foreign, own = await talk(alice, bob, 1), await talk(eve, bob, 2)
    missing = str(uuid.uuid4())
    for only in ({}, {"only": True}):
        ack = await eve.call("sync", {"cursors": {foreign: 0, own: 1, missing: 0}, **only})
        assert [(chat["chatId"], seqs(chat)) for chat in ack["chats"]] == [(own, [2])]
        assert set(ack["gone"]) == {foreign, missing}
    assert "gone" not in await eve.call("sync", {"cursors": {own: 1}})


@pytest.mark.parametrize("limit", [1, 7, 50, 100])
async def test_paging_back_walks_the_whole_history(
    edge: Edge, arrive: Arrive, name: Name, limit: int
) -> None:
    alice, bob = await arrive(name("alice"), edge), await arrive(name("bob"), edge)
    chat_id = await talk(alice, bob, 105 if limit > 1 else 9)
    pages = [await alice.call("get_messages", {"chatId": chat_id, "limit": limit})]
    while pages[-1]["hasMore"]:
        before = pages[-1]["messages"][0]["seq"]
        pages.append(await alice.call("get_messages", {"chatId": chat_id, "before": before, "limit": limit}))
    walked = [seq for page in reversed(pages) for seq in seqs(page)]
    assert walked == list(range(1, len(walked) + 1))
    assert len(walked) == (105 if limit > 1 else 9)
    assert all(len(page["messages"]) == limit for page in pages[:-1])


@pytest.mark.parametrize("limit", [1, 7, 50, 100])
async def test_paging_forward_walks_the_whole_history(
    edge: Edge, arrive: Arrive, name: Name, limit: int
) -> None:
    alice, bob = await arrive(name("alice"), edge), await arrive(name("bob"), edge)
    chat_id = await talk(alice, bob, 105 if limit > 1 else 9)
    walked: list[int] = []
    more = True
    while more:
        page = await bob.call("get_messages", {"chatId": chat_id, "after": len(walked), "limit": limit})
        walked += seqs(page)
        more = page["hasMore"]
    assert walked == list(range(1, (105 if limit > 1 else 9) + 1))


async def test_a_page_is_never_longer_than_the_maximum(edge: Edge, arrive: Arrive, name: Name) -> None:
    alice, bob = await arrive(name("alice"), edge), await arrive(name("bob"), edge)
    chat_id = await talk(alice, bob, 105)
    for request in ({}, {"limit": 1_000_000}, {"after": 0, "limit": 1_000_000}):
        page = await alice.call("get_messages", {"chatId": chat_id, **request})
        assert len(page["messages"]) == (100 if request else 50)
        assert page["hasMore"]


async def test_pages_beyond_the_ends_are_empty(edge: Edge, arrive: Arrive, name: Name) -> None:
    alice, bob = await arrive(name("alice"), edge), await arrive(name("bob"), edge)
    chat_id = await talk(alice, bob, 3)
    for request in ({"before": 1}, {"before": 0}, {"after": 3}, {"after": 99}):
        page = await alice.call("get_messages", {"chatId": chat_id, **request})
        assert page == {"success": True, "messages": [], "hasMore": False, "change": 0}, request


async def test_join_chat_returns_the_newest_page(edge: Edge, arrive: Arrive, name: Name) -> None:
    alice, bob = await arrive(name("alice"), edge), await arrive(name("bob"), edge)
    await talk(alice, bob, 9)
    for limit, expected in ((4, [6, 7, 8, 9]), (9, list(range(1, 10))), (50, list(range(1, 10)))):
        joined = await alice.call("join_chat", {"username": bob.username, "limit": limit})
        assert (seqs(joined), joined["hasMore"]) == (expected, limit < 9)


async def test_the_chat_with_the_newest_message_is_listed_first(
    edge: Edge, arrive: Arrive, name: Name
) -> None:
    alice = await arrive(name("alice"), edge)
    peers = [await arrive(name(base), edge) for base in ("bob", "carol", "dave")]
    for peer in (*peers, peers[0]):
        await alice.send(peer.username, f"to {peer.username}")
    listed = await alice.call("list_chats", {})
    order = [peers[0].username, peers[2].username, peers[1].username]
    assert [chat["peer"]["username"] for chat in listed["chats"]] == order
    assert [chat["lastMessage"]["text"] for chat in listed["chats"]] == [f"to {peer}" for peer in order]
    assert listed["nextCursor"] is None


@pytest.mark.parametrize("limit", [1, 3, 7, 8])
async def test_the_cursor_walks_all_chats(edge: Edge, arrive: Arrive, name: Name, limit: int) -> None:
    alice = await arrive(name("alice"), edge)
    peers = [await arrive(name(f"peer_{number}"), edge) for number in range(7)]
    await asyncio.gather(*(alice.send(peer.username, "Hello") for peer in peers))
    chats: list[Payload] = []
    cursor = None
    while True:
        listed = await alice.call("list_chats", {"limit": limit, "cursor": cursor})
        chats += listed["chats"]
        cursor = listed["nextCursor"]
        if cursor is None:
            break
        assert len(listed["chats"]) == limit
    assert sorted(chat["peer"]["username"] for chat in chats) == sorted(peer.username for peer in peers)
    times = [chat["lastMessage"]["createdAt"] for chat in chats]
    assert all(later >= earlier for later, earlier in pairwise(times))


async def test_a_cursor_that_list_chats_never_gave_is_refused(edge: Edge, arrive: Arrive, name: Name) -> None:
    alice = await arrive(name("alice"), edge)
    for cursor in ("", "x", "bm8=", "WzEsMl0=", "ÿ", "\0"):
        ack = await alice.call("list_chats", {"cursor": cursor})
        assert ack.get("code") == "invalid_payload", (cursor, ack)


async def test_messages_from_others_are_unread_until_they_are_marked(
    edge: Edge, arrive: Arrive, name: Name
) -> None:
    alice, bob = await arrive(name("alice"), edge), await arrive(name("bob"), edge)
    for sender, recipient, count in ((alice, bob, 3), (bob, alice, 2), (alice, bob, 1)):
        for number in range(count):
            await sender.send(recipient.username, str(number))
    chat_id = bob.of("message_sent")[0]["chatId"]

    async def unread(client: Client) -> int:
        (chat,) = (await client.call("list_chats", {}))["chats"]
        return int(chat["unread"])

    assert (await unread(alice), await unread(bob)) == (2, 4)
    ack = await bob.call("mark_as_read", {"chatId": chat_id, "upTo": 2})
    assert (ack["readUpTo"], ack["unread"]) == (2, 2)
    assert await unread(bob) == 2
    back = await bob.call("mark_as_read", {"chatId": chat_id, "upTo": 1})
    assert (back["readUpTo"], back["unread"]) == (2, 2)
    ack = await bob.call("mark_as_read", {"chatId": chat_id})
    assert (ack["readUpTo"], ack["unread"]) == (6, 0)
    assert (await unread(alice), await unread(bob)) == (2, 0)


async def test_a_chat_without_messages_is_listed_with_no_last_message(
    edge: Edge, arrive: Arrive, name: Name
) -> None:
    alice, bob = await arrive(name("alice"), edge), await arrive(name("bob"), edge)
    joined = await alice.call("join_chat", {"username": bob.username})
    (chat,) = (await alice.call("list_chats", {}))["chats"]
    assert (chat["chatId"], chat["lastMessage"], chat["unread"]) == (joined["chatId"], None, 0)
