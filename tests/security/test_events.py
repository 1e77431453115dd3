"""Attacks by a signed-in user: events, acks, tokens, and the chats of others."""

import asyncio
import json
import uuid
from collections.abc import Iterable
from typing import Any

import jwt
import msgspec
import pytest
import uuid_utils
from redis.asyncio import Redis

from infra.wire.batch import Batch, Event
from infra.wire.names import QUEUE
from infra.wire.registry import CLIENT_COMMANDS
from socket_edge.relay.dispatch import Dispatcher
from tests.conftest import Name
from tests.harness.deployment import Deployment, make_token, user_id_of, with_profile
from tests.harness.raw import RawClient, event
from tests.harness.waiting import until
from tests.integration.bad_input.test_arguments import BAD_ARGUMENTS, BAD_IDS
from tests.integration.bad_input.test_payloads import BAD_FIELDS, NOT_AN_OBJECT
from tests.security.conftest import Besiege
from tests.security.reactions import EMOJIS, assert_bounded, message_to, toggles
from workers.handlers.react import REACTIONS
from workers.handlers.report import REPORTS

pytestmark = pytest.mark.alone

RESERVED = (
    *("connect", "disconnect", "connect_error", "disconnecting", "newListener", "removeListener"),
    *("__class__", "__init__", "__proto__", "constructor", "*", "message"),
    *("introduce", "catch_up", "announce", "confirm_delivery"),
)


async def codes(raw: RawClient, events: Iterable[str]) -> set[str]:
    """Send events all at once; return the codes of the refusals."""
    posted = [await raw.post(data) for data in events]
    acks = [await raw.ack_of(ack_id) for ack_id in posted]
    return {ack.get("code", "accepted") for ack in acks}


async def assert_still(raw: RawClient, username: str) -> None:
    """Assert that the connection still acts for the same user."""
    ack = await raw.ask(event("send_message", {"username": username, "text": "still here"}))
    assert ack["message"]["senderId"] == user_id_of(username)


async def test_events_named_like_internals_are_unknown(
    besiege: Besiege, raw: RawClient, mallory: str
) -> None:
    async with besiege(
        attack="events with internal names",
        sent=f"{3 * len(RESERVED) * 10} events: `connect`, `disconnect`, `__class__`, `catch_up` ...",
        outcome="each is `unknown_event`",
        bound_mb=20,
    ):
        for _ in range(10):
            for arguments in ("", ",{}", f',"{"x" * 20}",{{"token":"x"}},3'):
                assert await codes(raw, (f'["{name}"{arguments}]' for name in RESERVED)) == {"unknown_event"}
        await assert_still(raw, mallory)


async def test_names_that_are_not_strings_are_refused(besiege: Besiege, raw: RawClient, mallory: str) -> None:
    names = ("5", "1e999", "-0", '"\\ud800"')
    async with besiege(
        attack="event names that are not strings",
        sent=f"{20 * len(names)} events",
        outcome="each is `unknown_event` or `invalid_payload`",
        bound_mb=20,
    ):
        for _ in range(20):
            refused = await codes(raw, (f"[{name},{{}}]" for name in names))
            assert refused == {"unknown_event", "invalid_payload"}
        await assert_still(raw, mallory)


async def test_attachments_that_never_come_are_not_waited_for(
    target: Deployment, besiege: Besiege, raw: RawClient, mallory: str
) -> None:
    async with besiege(
        attack="binary events",
        sent="60 events that announce 1 to 99 attachments and send none",
        outcome="each is refused at once; the next packet ends the connection",
        bound_mb=20,
    ):
        for _ in range(20):
            for count in (1, 10, 99):
                async with RawClient(target.edges[0], mallory) as binary:
                    await binary.send(f'45{count}-["send_message",{{"_placeholder":true,"num":0}}]')
                    await binary.expect("error")
                    await binary.send('42["list_chats",{}]')
                    assert await binary.closed() == 1000
                    assert {error["code"] for error in binary.of("error")} == {"invalid_payload"}
        await assert_still(raw, mallory)


async def test_nesting_is_refused_before_anything_recurses(
    target: Deployment, besiege: Besiege, raw: RawClient, mallory: str
) -> None:
    deep = "[" * 100_000
    async with besiege(
        attack="JSON nested 100,000 deep",
        sent="60 events, closed and unclosed, 20 acks, 20 connects",
        outcome="`payload_too_large` or `invalid_payload`; acks and connects end the connection",
        bound_mb=40,
    ):
        for _ in range(20):
            assert await codes(raw, [f'["sync",{deep}{"]" * 100_000}]']) == {"payload_too_large"}
            assert await codes(
                raw, [f'["sync",{"[" * 30_000}{"]" * 30_000}]', f'["sync",{deep[:60_000]}']
            ) == {"invalid_payload"}
            for frame in (f"4399999[{deep}", f'40{{"token":{deep}'):
                async with RawClient(target.edges[0], mallory) as breaking:
                    await breaking.send(frame)
                    await breaking.closed()
        await assert_still(raw, mallory)


async def test_huge_numbers_are_refused(besiege: Besiege, raw: RawClient, mallory: str) -> None:
    numbers = (
        "9" * 60_000,
        "-" + "9" * 60_000,
        "1e999",
        "1E" + "9" * 400,
        "0." + "0" * 60_000 + "1",
        str(2**63),
    )
    async with besiege(
        attack="huge numbers",
        sent=f"{10 * len(numbers)} payloads of up to 60,000 digits",
        outcome="each is `invalid_payload`",
        bound_mb=40,
    ):
        for _ in range(10):
            found = await codes(raw, (f'["sync",{{"cursors":{{"{uuid.uuid4()}":{n}}}}}]' for n in numbers))
            assert found == {"invalid_payload"}
        await assert_still(raw, mallory)


async def test_malformed_payloads_and_arguments_are_refused(
    besiege: Besiege, raw: RawClient, mallory: str
) -> None:
    events = [
        *(f'["{command}",{payload}]' for command in CLIENT_COMMANDS for payload in NOT_AN_OBJECT),
        *(f'["send_message",{payload.replace("USER", mallory)}]' for payload in BAD_FIELDS.values()),
        *(event(command, payload) for command, payload in BAD_ARGUMENTS),
        *(event(command, {"chatId": bad}) for command in ("mark_as_read", "get_messages") for bad in BAD_IDS),
    ]
    async with besiege(
        attack="malformed payloads and arguments",
        sent=f"{20 * len(events):,} events, of {len(events)} kinds",
        outcome="each is `invalid_payload`",
        bound_mb=20,
    ):
        for _ in range(20):
            assert await codes(raw, events) == {"invalid_payload"}
        await assert_still(raw, mallory)


async def test_unterminated_texts_are_read_once(
    target: Deployment, besiege: Besiege, raw: RawClient, mallory: str
) -> None:
    endless = '["sync",' + "[]," * 40 + '"' + '\\"' * 32_000
    async with besiege(
        attack="unterminated strings",
        sent="20 events of 64 kB, all quotes and backslashes",
        outcome="each is `invalid_payload`, in milliseconds, and ends its connection",
        bound_mb=20,
    ):
        for _ in range(20):
            async with RawClient(target.edges[0], mallory) as sender:
                assert await codes(sender, [endless]) == {"invalid_payload"}
                await sender.closed()
        await assert_still(raw, mallory)


async def test_the_last_of_duplicate_keys_counts(
    target: Deployment, besiege: Besiege, raw: RawClient, mallory: str, name: Name
) -> None:
    bob, eve = (with_profile(target, name(base)) for base in ("bob", "eve"))
    async with besiege(
        attack="duplicate keys",
        sent="100 sends with two `username`, two `text` and two `clientId`",
        outcome="one message each, with the last values",
        bound_mb=20,
    ):
        posted = [
            await raw.post(
                f'["send_message",{{"username":"{bob}","clientId":"a","text":"to bob",'
                f'"username":"{eve}","clientId":"{number}","text":"to eve"}}]'
            )
            for number in range(100)
        ]
        messages = [(await raw.ack_of(ack_id))["message"] for ack_id in posted]
        assert {(m["recipientId"], m["text"]) for m in messages} == {(user_id_of(eve), "to eve")}
        assert [m["clientId"] for m in messages] == [str(number) for number in range(100)]


async def test_unsolicited_acks_change_nothing(besiege: Besiege, raw: RawClient, mallory: str) -> None:
    ids = (*range(100), 10**9, 10**15, 10**16 - 1, 10**16, 10**30, 10**99)
    async with besiege(
        attack="unsolicited acks",
        sent=f"{20 * len(ids)} acks, with ids of up to 100 digits",
        outcome="they are ignored",
        bound_mb=20,
    ):
        for _ in range(20):
            for ack_id in ids:
                await raw.send(f'43{ack_id}[{{"received":true}}]')
        await assert_still(raw, mallory)
        assert raw.of("error") == []


async def test_another_users_ack_does_not_make_a_message_delivered(
    target: Deployment, besiege: Besiege, raw: RawClient, name: Name
) -> None:
    edge = target.edges[0]
    async with (
        besiege(
            attack="acks for other people's messages",
            sent="2,000 acks by a stranger and the sender, with every id in use",
            outcome="it stays `sent`; the recipient's ack makes it `delivered`",
            bound_mb=20,
        ),
        RawClient(edge, name("carol")) as carol,
        RawClient(edge, name("dave")) as dave,
        RawClient(edge, name("erin")) as erin,
    ):
        for recipient in (dave, erin):
            await recipient.ask('["list_chats",{}]')
        sent = (await carol.ask(event("send_message", {"username": name("dave"), "text": "hi"})))["message"]
        await dave.expect("new_message")
        for stranger in (raw, carol):
            for ack_id in range(1_000):
                await stranger.send(f'43{ack_id}[{{"received":true,"messageId":"{sent["id"]}"}}]')
            await stranger.ask('["list_chats",{}]')  # The edge has read the acks before this.
        # A wrong receipt would be handled before that of a later message.
        later = (await carol.ask(event("send_message", {"username": name("erin"), "text": "hi"})))["message"]
        await ack_message(erin)
        assert (await carol.expect("message_status"))["chatId"] == later["chatId"]
        assert await status_of(carol, sent["chatId"]) == "sent"
        await ack_message(dave)
        status = await carol.expect("message_status", 2)
        assert (status["chatId"], status["status"]) == (sent["chatId"], "delivered")
        assert await status_of(carol, sent["chatId"]) == "delivered"


async def ack_message(raw: RawClient) -> None:
    """Ack the first message that a client gets."""
    await raw.expect("new_message")
    frame = next(frame for frame in raw.frames if '["new_message"' in frame)
    await raw.send(f"43{frame[2:].partition('[')[0]}[]")


async def test_receipts_for_other_peoples_chats_change_nothing(
    target: Deployment, besiege: Besiege, raw: RawClient, mallory: str, name: Name
) -> None:
    spans = ([[1, 1]], [[1, 2**63 - 1]], [[0, 0]], [[5, 1]], [[n, n] for n in range(1, 1_000)])
    async with (
        besiege(
            attack="receipts for other people's chats",
            sent="1,000 `confirm_delivery`, queued as an edge would, with spans of up to 2^63 - 1",
            outcome="they change nothing",
            bound_mb=20,
        ),
        RawClient(target.edges[0], name("carol")) as carol,
        Redis.from_url(target.store.redis_url) as redis,
    ):
        dave = with_profile(target, name("dave"))
        sent = (await carol.ask(event("send_message", {"username": dave, "text": "hi"})))["message"]
        dispatcher = Dispatcher(redis)
        for _ in range(40):
            forged = [
                Event(
                    str(uuid_utils.uuid7()),
                    "confirm_delivery",
                    user_id_of(mallory),
                    "socket",
                    msgspec.Raw(msgspec.json.encode({"chatId": sent["chatId"], "spans": span})),
                )
                for span in 5 * spans
            ]
            assert await dispatcher.send(Batch(uuid_utils.uuid7().hex, "nowhere", forged), cautious=False)

        async def is_empty() -> bool:
            return not await redis.llen(QUEUE)

        await until(is_empty, "the queue is empty")
        await raw.ask('["list_chats",{}]')
        assert await status_of(carol, sent["chatId"]) == "sent"
        assert carol.of("message_status") == []


async def status_of(raw: RawClient, chat_id: str) -> str:
    page = await raw.ask(event("get_messages", {"chatId": chat_id}))
    return str(page["messages"][-1]["status"])


async def test_chat_ids_cannot_be_guessed(
    target: Deployment, besiege: Besiege, raw: RawClient, name: Name
) -> None:
    async with (
        besiege(
            attack="guessed chat ids",
            sent="2,807 requests about 401 ids, 200 of them next to one that exists",
            outcome="`chat_not_found`; `not_a_member` for the existing one; `sync` tells neither",
            bound_mb=20,
        ),
        RawClient(target.edges[0], name("carol")) as carol,
    ):
        dave = with_profile(target, name("dave"))
        sent = (await carol.ask(event("send_message", {"username": dave, "text": "secret"})))["message"]
        real = uuid.UUID(sent["chatId"])
        near = [uuid.UUID(int=real.int + step) for step in range(-100, 101) if step]
        far = [uuid.uuid4() for _ in range(200)]
        assert await codes(raw, about([*near, *far])) == {"chat_not_found"}
        assert await codes(raw, about([real])) == {"not_a_member"}
        for chat_id in map(str, [*near, *far, real]):
            ack = await raw.ask(event("sync", {"cursors": {chat_id: 0}}))
            assert (ack["chats"], ack["gone"]) == ([], [chat_id])
        assert not [frame for frame in raw.frames if "secret" in frame]


def about(chat_ids: Iterable[uuid.UUID]) -> Iterable[str]:
    """Return a request of each kind about each chat."""
    for chat_id in map(str, chat_ids):
        message = {"chatId": chat_id, "seq": 1}
        yield event("get_messages", {"chatId": chat_id})
        yield event("mark_as_read", {"chatId": chat_id})
        yield event("clear_chat", {"chatId": chat_id})
        yield event("edit_message", {**message, "text": "forged"})
        yield event("unsend_message", message)
        yield event("react", {**message, "emoji": "👍", "on": True})


async def test_messages_of_others_cannot_be_changed(
    target: Deployment, besiege: Besiege, raw: RawClient, mallory: str, name: Name
) -> None:
    async with (
        besiege(
            attack="changes of others' messages",
            sent="600 edits and unsends of a peer's message, and reactions to it once it is unsent",
            outcome="each is `not_allowed`; the text stays",
            bound_mb=20,
        ),
        RawClient(target.edges[0], name("carol")) as carol,
    ):
        sent = (await carol.ask(event("send_message", {"username": mallory, "text": "mine"})))["message"]
        message = {"chatId": sent["chatId"], "seq": 1}
        changes = [
            event("edit_message", {**message, "text": "forged"}),
            event("unsend_message", message),
        ]
        assert await codes(raw, 300 * changes) == {"not_allowed"}
        (page,) = (await carol.ask(event("get_messages", {"chatId": sent["chatId"]})))["messages"]
        assert page["text"] == "mine"
        await carol.ask(event("unsend_message", message))
        late = [event("react", {**message, "emoji": "👍", "on": True}), changes[0]]
        assert await codes(raw, late) == {"not_allowed"}


NO_SEQS = (-1, -(2**63), 2**63, 10**400, 1.5, "1", True, [1])
ABSENT_SEQS = (0, 3, 2**31, 2**63 - 1)
"""Of a chat with two messages."""


def naming(chat_id: str, seq: object) -> list[str]:
    """Return a request of each kind that names a message."""
    message = {"chatId": chat_id, "seq": seq}
    return [
        event("edit_message", {**message, "text": "forged"}),
        event("unsend_message", message),
        event("react", {**message, "emoji": "👍", "on": True}),
        event("report", {**message, "reason": "spam"}),
    ]


def up_to(chat_id: str, seq: object) -> list[str]:
    """Return a request of each kind that moves a watermark."""
    return [event(command, {"chatId": chat_id, "upTo": seq}) for command in ("mark_as_read", "clear_chat")]


async def test_seqs_cannot_be_forged(
    target: Deployment, besiege: Besiege, raw: RawClient, mallory: str, name: Name
) -> None:
    carols, dave = name("carol"), with_profile(target, name("dave"))
    async with (
        besiege(
            attack="forged seqs",
            sent="1,080 requests about seqs that are invalid, absent, or of others' chats",
            outcome="each is refused; reads and clears end with the chat",
            bound_mb=20,
        ),
        RawClient(target.edges[0], carols) as carol,
    ):

        async def send(sender: RawClient, username: str) -> Any:
            ack = await sender.ask(event("send_message", {"username": username, "text": "hi"}))
            return ack["message"]

        others = (await send(carol, dave))["chatId"]
        chat_id = (await send(carol, mallory))["chatId"]
        assert (await send(raw, carols))["seq"] == 2

        def replies(seqs: Iterable[object]) -> list[str]:
            reply = {"username": carols, "text": "forged"}
            return [event("send_message", {**reply, "replyTo": seq}) for seq in seqs]

        malformed = [one for seq in NO_SEQS for one in (*naming(chat_id, seq), *up_to(chat_id, seq))]
        assert await codes(raw, 10 * [*malformed, *replies(NO_SEQS)]) == {"invalid_payload"}
        absent = [one for seq in ABSENT_SEQS for one in naming(chat_id, seq)]
        assert await codes(raw, 10 * [*absent, *replies(ABSENT_SEQS)]) == {"message_not_found"}
        foreign = [one for seq in (1, *ABSENT_SEQS) for one in (*naming(others, seq), *up_to(others, seq))]
        assert await codes(raw, 10 * foreign) == {"not_a_member"}
        assert await codes(raw, 10 * up_to(chat_id, 2**63 - 1)) == {"accepted"}

        assert (await send(carol, mallory))["seq"] == 3
        (page,) = (await raw.ask(event("get_messages", {"chatId": chat_id})))["messages"]
        (chat,) = (await raw.ask(event("list_chats", {})))["chats"]
        assert (page["seq"], chat["unread"], chat["readUpTo"]) == (3, 1, 2)
        for about, count in ((chat_id, 3), (others, 1)):
            messages = (await carol.ask(event("get_messages", {"chatId": about})))["messages"]
            assert [(one["seq"], one["text"]) for one in messages] == [(n + 1, "hi") for n in range(count)]
            assert not any("change" in one for one in messages)
        assert await status_of(carol, chat_id) == "sent"
        assert not target.rows("SELECT FROM reports WHERE reporter_id = :id", id=user_id_of(mallory))


async def test_reactions_of_a_user_to_a_message_are_bounded(
    target: Deployment, besiege: Besiege, raw: RawClient, mallory: str, name: Name
) -> None:
    async with (
        besiege(
            attack="reactions as a flood",
            sent="4,800 reactions to one message, added and taken back, on two connections",
            outcome=f"at most {REACTIONS} are there at any time; the others are `not_allowed`",
            bound_mb=40,
        ),
        RawClient(target.edges[0], name("carol")) as carol,
        RawClient(target.edges[0], mallory) as device,
    ):
        message = await message_to(mallory, carol)
        flood = toggles(message, 100)
        for found in await asyncio.gather(codes(raw, flood), codes(device, flood)):
            assert found == {"accepted", "not_allowed"}
        assert await codes(raw, toggles(message, 1)[: len(EMOJIS)]) == {"accepted", "not_allowed"}
        await assert_bounded(target, carol, message, REACTIONS)


async def test_reports_are_bounded(
    target: Deployment, besiege: Besiege, raw: RawClient, mallory: str, name: Name
) -> None:
    letters = REPORTS + 10
    async with (
        besiege(
            attack="reports as a flood",
            sent=f"{20 * letters:,} reports of {letters} messages of 4,000 characters; 200 of others' chats",
            outcome=f"{REPORTS} are kept; the others are `rate_limited` or `not_a_member`",
            bound_mb=50,
            worker_mb=60,
        ),
        RawClient(target.edges[0], name("carol")) as carol,
    ):
        dave = with_profile(target, name("dave"))
        sent = [
            (await carol.ask(event("send_message", {"username": to, "text": "😀" * 4_000})))["message"]
            for to in (dave, *[mallory] * letters)
        ]
        others, *chat_ids = [message["chatId"] for message in sent]
        reason = {"reason": "x" * 64, "note": "😀" * 1_000}
        foreign = event("report", {"chatId": others, "seq": 1, **reason})
        assert await codes(raw, 200 * [foreign]) == {"not_a_member"}
        flood = [
            event("report", {"chatId": chat_ids[0], "seq": seq, **reason}) for seq in range(1, letters + 1)
        ]
        assert await codes(raw, 20 * flood) == {"accepted", "rate_limited"}
        rows = target.rows("SELECT seq FROM reports WHERE reporter_id = :id", id=user_id_of(mallory))
        assert len(rows) == len({row.seq for row in rows}) == REPORTS


async def test_a_new_token_does_not_change_the_user(
    besiege: Besiege, raw: RawClient, mallory: str, name: Name
) -> None:
    victim = make_token(name("alice"))
    header, claims, signature = victim.split(".")
    mine = make_token(mallory).split(".")
    deep = "W1tb" * 3_000
    tokens = [
        victim,
        f"{header}.{claims}.{mine[2]}",
        f"{mine[0]}.{claims}.",
        jwt.encode({"sub": user_id_of(name("alice"))}, "", algorithm="none"),
        f"{deep}.{claims}.{signature}",
        "x" * 20_000,
        victim + "\n",
        "",
    ]
    async with besiege(
        attack="`refresh_token` with another user's token",
        sent=f"{20 * len(tokens)} tokens: foreign, forged, unsigned, deeply nested, too long",
        outcome="each is `unauthorized`; the sender keeps their identity",
        bound_mb=20,
    ):
        for _ in range(20):
            for token in tokens:
                assert (await raw.ask(event("refresh_token", {"token": token})))["code"] == "unauthorized"
        await assert_still(raw, mallory)


async def test_other_namespaces_are_closed(target: Deployment, besiege: Besiege, mallory: str) -> None:
    auth = json.dumps({"token": make_token(mallory)})
    spaces = ["/admin", "/chat", "/" + "a" * 1_000, "/\u202e", "/a\nb"]
    async with besiege(
        attack="other namespaces",
        sent=f"{50 * len(spaces)} connects with a valid token, and 50 events",
        outcome="each connect is refused; an event ends the connection",
        bound_mb=20,
    ):
        for _ in range(50):
            async with RawClient(target.edges[0], mallory) as raw:
                for space in spaces:
                    await raw.send(f"40{space},{auth}")
                await raw.ask('["list_chats",{}]')
                assert sum(frame.startswith("44/") for frame in raw.frames) == len(spaces)
                await raw.send(f'42{spaces[0]},7["send_message",{{"username":"{mallory}","text":"hi"}}]')
                await raw.closed()
                assert raw.of("message_sent") == []
                assert 7 not in raw.acks
