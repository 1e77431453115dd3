"""Messages are edited, unsent and reacted to: each change is committed once, in order, and told to both."""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from emoji import EMOJI_DATA, STATUS

from infra.wire.errors import ErrorCode
from tests.harness.talk import Talk
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory
from workers.emoji import to_emoji

EDIT_S = 3_600
UNSEND_S = 172_800
LIKE = "\U0001f44d"
HEART = "\u2764\ufe0f"
TEN = [chr(0x1F600 + n) for n in range(10)]


@pytest.fixture
def talk(bench: WorkerBench) -> Talk:
    return Talk.start(bench)


Act = Callable[[Talk, uuid.UUID, int], Any]


def edit(talk: Talk, user: uuid.UUID, seq: int) -> tuple[str, dict[str, Any]]:
    return "edit_message", {"seq": seq, "text": "edited"}


def unsend(talk: Talk, user: uuid.UUID, seq: int) -> tuple[str, dict[str, Any]]:
    return "unsend_message", {"seq": seq}


def react(talk: Talk, user: uuid.UUID, seq: int) -> tuple[str, dict[str, Any]]:
    return "react", {"seq": seq, "emoji": LIKE, "on": True}


all_changes = pytest.mark.parametrize("act", [edit, unsend, react])
own_changes = pytest.mark.parametrize("act", [edit, unsend])


def test_an_edit_replaces_the_text_and_nothing_else(talk: Talk) -> None:
    sent = talk.send(talk.alice, "helo", clientId="hers", data={"a": 1})
    edited = talk.edit(talk.alice, 1, "hello")
    assert edited == {**sent, "text": "hello", "change": 1, "editedAt": edited["editedAt"]}
    assert edited["editedAt"] >= sent["createdAt"]
    row = talk.row(1)
    assert (row.text, row.data, row.change, row.deleted_at) == ("hello", '{"a":1}', 1, None)
    assert talk.page(talk.bob) == [edited]


@pytest.mark.parametrize(
    ("given", "stored"), [({}, '{"a":1}'), ({"data": None}, None), ({"data": {"b": 2}}, '{"b":2}')]
)
def test_an_edit_keeps_removes_or_replaces_the_data(talk: Talk, given: Any, stored: str | None) -> None:
    talk.send(talk.alice, "hello", data={"a": 1})
    edited = talk.edit(talk.alice, 1, "edited", **given)
    assert talk.row(1).data == stored
    assert ("data" in edited) == (stored is not None)


def test_an_edit_may_remove_the_text_only_beside_data(talk: Talk) -> None:
    talk.send(talk.alice, "hello", data={"a": 1})
    assert talk.refused(talk.alice, "edit_message", seq=1, text="", data=None) == ErrorCode.INVALID_PAYLOAD
    assert talk.refused(talk.alice, "edit_message", seq=1, text="\u200b") == ErrorCode.INVALID_PAYLOAD
    assert talk.edit(talk.alice, 1, "")["text"] == ""
    assert talk.refused(talk.alice, "edit_message", seq=1, text="", data=None) == ErrorCode.INVALID_PAYLOAD


@pytest.mark.parametrize("words", ["", " ", "a\0b", "x" * 4_001])
def test_an_edit_stores_no_text_that_a_send_would_not_store(talk: Talk, words: str) -> None:
    talk.send(talk.alice)
    assert talk.refused(talk.alice, "edit_message", seq=1, text=words) == ErrorCode.INVALID_PAYLOAD
    assert talk.row(1).text == "hello"
    assert talk.changes() == []


def test_an_unsent_message_keeps_its_seq_and_loses_everything_else(talk: Talk) -> None:
    sent = talk.send(talk.alice, "secret", clientId="hers", data={"a": "secret"})
    talk.react(talk.bob, 1, LIKE)
    talk.edit(talk.alice, 1, "another secret")
    left = talk.unsend(talk.alice, 1)
    gone = {"data", "reactions"}
    assert left == {
        **{key: value for key, value in sent.items() if key not in gone},
        "text": "",
        "change": 3,
        "editedAt": left["editedAt"],
        "deletedAt": left["deletedAt"],
    }
    row = talk.row(1)
    assert (row.text, row.data, row.reactions) == ("", None, None)
    assert row.deleted_at is not None
    assert "secret" not in str(talk.bench.rows("SELECT * FROM changed_messages WHERE chat_id = :c", c=row[0]))
    assert talk.send(talk.bob)["seq"] == 2
    assert talk.only(talk.bob)["lastSeq"] == 2


def test_reactions_come_and_go_one_by_one(talk: Talk) -> None:
    sent = talk.send(talk.alice)
    talk.react(talk.bob, 1, LIKE)
    talk.react(talk.alice, 1, HEART)
    both = talk.react(talk.alice, 1, LIKE)
    alice, bob = str(talk.alice), str(talk.bob)
    assert both == {
        **sent,
        "change": 3,
        "reactions": [{"emoji": LIKE, "userIds": [bob, alice]}, {"emoji": HEART, "userIds": [alice]}],
    }
    assert talk.row(1).reactions == [[LIKE, bob], [HEART, alice], [LIKE, alice]]
    left = talk.react(talk.bob, 1, LIKE, on=False)
    assert left["reactions"] == [
        {"emoji": HEART, "userIds": [alice]},
        {"emoji": LIKE, "userIds": [alice]},
    ]
    talk.react(talk.alice, 1, LIKE, on=False)
    assert talk.react(talk.alice, 1, HEART, on=False) == {**sent, "change": 6}
    assert talk.row(1).reactions is None


def test_a_user_has_ten_reactions_to_a_message_and_no_more(talk: Talk) -> None:
    talk.send(talk.alice)
    for emoji in TEN:
        talk.react(talk.bob, 1, emoji)
    asked = {"seq": 1, "emoji": LIKE, "on": True}
    assert talk.refused(talk.bob, "react", **asked) == ErrorCode.NOT_ALLOWED
    assert len(talk.react(talk.alice, 1, LIKE)["reactions"]) == 11
    talk.react(talk.bob, 1, TEN[0])
    talk.react(talk.bob, 1, TEN[0], on=False)
    assert talk.react(talk.bob, 1, LIKE)["change"] == 13


def test_a_user_who_floods_a_message_with_one_batch_gets_ten_reactions(talk: Talk) -> None:
    talk.send(talk.alice)
    asked = [talk.event(talk.bob, "react", seq=1, emoji=emoji, on=True) for emoji in [*TEN, LIKE, HEART]]
    reply = talk.bench.ask(*asked)
    refused = [one for one in asked if reply.answers[one.id].failure is not None]
    assert refused == asked[10:]
    assert talk.changes() == [1]


@own_changes
def test_only_its_sender_changes_a_message(talk: Talk, act: Act) -> None:
    sent = talk.send(talk.alice)
    name, payload = act(talk, talk.bob, 1)
    assert talk.refused(talk.bob, name, **payload) == ErrorCode.NOT_ALLOWED
    assert talk.page(talk.alice) == [sent]


@own_changes
def test_a_message_is_changed_until_its_window_ends(talk: Talk, act: Act) -> None:
    window = EDIT_S if act is edit else UNSEND_S
    for _ in range(2):
        talk.send(talk.alice)
    talk.age(1, window + 1)
    talk.age(2, window - 60)
    name, payload = act(talk, talk.alice, 1)
    assert talk.refused(talk.alice, name, **payload) == ErrorCode.TOO_LATE
    assert talk.row(1).text == "hello"
    assert talk.ask(talk.alice, name, **{**payload, "seq": 2})["message"]["change"] == 1


def test_a_reaction_is_never_too_late(talk: Talk) -> None:
    talk.send(talk.alice)
    talk.age(1, 400 * 86_400)
    assert talk.react(talk.bob, 1, LIKE)["change"] == 1


@own_changes
def test_a_window_of_0_forbids_the_change(make_bench: BenchFactory, act: Act) -> None:
    talk = Talk.start(make_bench(edit_s=0, unsend_s=0))
    talk.send(talk.alice)
    name, payload = act(talk, talk.alice, 1)
    assert talk.refused(talk.alice, name, **payload) == ErrorCode.NOT_ALLOWED
    assert talk.react(talk.alice, 1, LIKE)["change"] == 1


def test_what_was_done_in_time_is_answered_again_when_it_is_too_late(talk: Talk) -> None:
    for _ in range(2):
        talk.send(talk.alice)
    edited = talk.edit(talk.alice, 1, "edited", clientId="e")
    unsent = talk.unsend(talk.alice, 2)
    for seq in (1, 2):
        talk.age(seq, UNSEND_S + 60)
    createds = [message["createdAt"] for message in talk.page(talk.alice)]
    again = [talk.edit(talk.alice, 1, "edited", clientId="e"), talk.unsend(talk.alice, 2)]
    assert again == [
        {**message, "createdAt": created} for message, created in zip((edited, unsent), createds, strict=True)
    ]


@all_changes
@pytest.mark.parametrize("seq", [0, 2, 2**63 - 1])
def test_an_unknown_seq_is_not_found(talk: Talk, act: Act, seq: int) -> None:
    talk.send(talk.alice)
    name, payload = act(talk, talk.alice, seq)
    assert talk.refused(talk.alice, name, **payload) == ErrorCode.MESSAGE_NOT_FOUND


@all_changes
def test_a_forged_chat_is_refused(talk: Talk, act: Act) -> None:
    talk.send(talk.alice)
    stranger, _ = talk.bench.person("mallory")
    name, payload = act(talk, stranger, 1)
    assert talk.refused(stranger, name, **payload) == ErrorCode.NOT_A_MEMBER
    forged = talk.bench.event(talk.alice, name, {**payload, "chatId": str(uuid.uuid4())})
    assert talk.bench.ask(forged).failure(forged).code == ErrorCode.CHAT_NOT_FOUND
    assert talk.changes() == []


@pytest.mark.parametrize("act", [edit, react])
def test_an_unsent_message_stays_as_it_is(talk: Talk, act: Act) -> None:
    talk.send(talk.alice)
    left = talk.unsend(talk.alice, 1)
    name, payload = act(talk, talk.alice, 1)
    assert talk.refused(talk.alice, name, **payload) == ErrorCode.NOT_ALLOWED
    assert talk.page(talk.alice) == [left]


def test_a_retry_of_an_edit_after_a_later_one_changes_nothing(talk: Talk) -> None:
    talk.send(talk.alice)
    first = talk.event(talk.alice, "edit_message", seq=1, text="first", clientId="e-1")
    talk.bench.ask(first)
    later = talk.edit(talk.alice, 1, "later", clientId="e-2")
    assert talk.bench.ask(first).ack(first)["message"] == later
    unsent = talk.unsend(talk.alice, 1)
    assert talk.bench.ask(first).ack(first)["message"] == unsent
    assert talk.row(1).text == ""


def test_a_message_remembers_its_last_twenty_edits(talk: Talk) -> None:
    talk.send(talk.alice)
    for n in range(21):
        talk.edit(talk.alice, 1, f"{n}", clientId=f"e-{n}")
    assert talk.edit(talk.alice, 1, "1", clientId="e-1")["text"] == "20"
    assert talk.edit(talk.alice, 1, "0", clientId="e-0")["text"] == "0"


def test_an_edit_to_what_a_message_says_is_remembered_and_changes_nothing(talk: Talk) -> None:
    sent = talk.send(talk.alice, "same")
    assert talk.edit(talk.alice, 1, "same") == sent
    assert talk.edit(talk.alice, 1, "same", clientId="e-1") == {**sent, "change": 1}
    talk.edit(talk.alice, 1, "later", clientId="e-2")
    assert talk.edit(talk.alice, 1, "same", clientId="e-1")["text"] == "later"


@all_changes
def test_a_repeated_batch_changes_nothing_and_tells_both_again(talk: Talk, act: Act) -> None:
    talk.send(talk.alice)
    name, payload = act(talk, talk.alice, 1)
    batch = talk.bench.batch([talk.event(talk.alice, name, **payload)])
    replies = []
    for _ in range(2):
        talk.bench.processor.process([batch])
        replies.append(talk.bench.read())
    first, again = ([reply.emitted("message_changed", user) for reply in replies] for user in people(talk))
    assert first == again
    assert first[0] == first[1] == [replies[0].ack(batch.events[0])["message"]]
    assert talk.changes() == [1]


def test_what_was_never_changed_is_not_told(talk: Talk) -> None:
    talk.send(talk.alice, "same")
    asked = [
        talk.event(talk.alice, "edit_message", seq=1, text="same"),
        talk.event(talk.bob, "react", seq=1, emoji=LIKE, on=False),
    ]
    reply = talk.bench.ask(*asked)
    assert all("change" not in reply.ack(one)["message"] for one in asked)
    assert [reply.emitted("message_changed", user) for user in people(talk)] == [[], []]


def people(talk: Talk) -> tuple[uuid.UUID, uuid.UUID]:
    return talk.alice, talk.bob


def test_a_note_to_self_is_changed_and_told_once(bench: WorkerBench) -> None:
    alice, name = bench.person("alice")
    note = bench.send(alice, name, "note")
    chat_id = bench.ask(note).ack(note)["message"]["chatId"]
    edited = bench.event(alice, "edit_message", {"chatId": chat_id, "seq": 1, "text": "edited"})
    reply = bench.ask(edited)
    assert reply.emitted("message_changed", alice) == [reply.ack(edited)["message"]]


def test_both_are_told_the_changes_of_a_batch_in_their_order(talk: Talk) -> None:
    count = 20
    for _ in range(count):
        talk.send(talk.alice)
    order = [7, 3, *(seq for seq in range(count, 0, -1) if seq not in (7, 3))]
    reply = talk.bench.ask(*(talk.event(talk.alice, "edit_message", seq=seq, text="x") for seq in order))
    for user in people(talk):
        told = reply.emitted("message_changed", user)
        assert [message["change"] for message in told] == [*range(1, count + 1)]
        assert [message["seq"] for message in told] == order


def test_each_chat_counts_its_own_changes(bench: WorkerBench) -> None:
    talks = [Talk.start(bench) for _ in range(3)]
    for talk in talks:
        for _ in range(3):
            talk.send(talk.alice)
    order = [(0, 2), (1, 1), (0, 1), (2, 3), (1, 3), (0, 3)]
    asked = [talks[n].event(talks[n].alice, "edit_message", seq=seq, text="x") for n, seq in order]
    reply = bench.ask(*asked)
    assert [reply.ack(one)["message"]["change"] for one in asked] == [1, 1, 2, 1, 2, 3]
    for n, (talk, last) in enumerate(zip(talks, (3, 2, 1), strict=True)):
        assert talk.only(talk.bob)["change"] == last
        told = reply.emitted("message_changed", talk.bob)
        assert [message["seq"] for message in told] == [seq for chat, seq in order if chat == n]


def test_a_batch_changes_a_message_as_if_its_requests_came_one_by_one(talk: Talk) -> None:
    talk.send(talk.alice)
    asked = [
        talk.event(talk.alice, "edit_message", seq=1, text="one", clientId="1"),
        talk.event(talk.alice, "edit_message", seq=1, text="two", clientId="2"),
        talk.event(talk.alice, "edit_message", seq=1, text="one", clientId="1"),
        talk.event(talk.bob, "edit_message", seq=1, text="forged"),
    ]
    reply = talk.bench.ask(*asked)
    assert talk.row(1).text == "two"
    assert [reply.ack(one)["message"]["text"] for one in asked[:3]] == ["two"] * 3
    assert reply.failure(asked[3]).code == ErrorCode.NOT_ALLOWED
    assert len(reply.emitted("message_changed", talk.bob)) == 1


def test_who_has_cleared_a_message_neither_hears_of_it_nor_changes_it(talk: Talk) -> None:
    talk.send(talk.alice)
    talk.ask(talk.bob, "clear_chat")
    asked = talk.event(talk.alice, "edit_message", seq=1, text="edited")
    reply = talk.bench.ask(asked)
    assert len(reply.emitted("message_changed", talk.alice)) == 1
    assert reply.emitted("message_changed", talk.bob) == []
    refused = talk.refused(talk.bob, "react", seq=1, emoji=LIKE, on=True)
    assert refused == ErrorCode.MESSAGE_NOT_FOUND


def test_pages_and_lists_hold_the_newest_state_and_name_the_change(talk: Talk) -> None:
    talk.send(talk.alice)
    talk.send(talk.bob)
    assert talk.only(talk.alice)["change"] == 0
    talk.react(talk.bob, 1, LIKE)
    edited = talk.edit(talk.bob, 2, "edited")
    page = talk.ask(talk.alice, "get_messages")
    assert page["change"] == 2
    assert [message["change"] for message in page["messages"]] == [1, 2]
    joined = talk.bench.event(talk.bob, "join_chat", {"username": talk.alices_name})
    ack = talk.bench.ask(joined).ack(joined)
    assert (ack["change"], ack["messages"]) == (2, page["messages"])
    listed = talk.only(talk.alice)
    assert (listed["change"], listed["lastMessage"]) == (2, edited)


def test_a_chat_in_which_only_a_message_has_changed_is_listed_since(talk: Talk) -> None:
    talk.send(talk.alice)
    talk.bench.rows(
        "UPDATE chats SET activity_at = activity_at - interval '1 day' WHERE id = :chat", chat=talk.chat_id
    )

    def listed(user: uuid.UUID, since: str | None) -> Any:
        asked = talk.bench.event(user, "list_chats", {"since": since})
        return talk.bench.ask(asked).ack(asked)

    for user, emoji in zip(people(talk), TEN, strict=False):
        since = listed(user, None)["since"]
        assert listed(user, since)["chats"] == []
        talk.react(talk.bob, 1, emoji)
        assert [chat["chatId"] for chat in listed(user, since)["chats"]] == [talk.chat_id]
        talk.bench.rows(
            """
            UPDATE chats SET lo_changed_at = lo_changed_at - interval '1 day',
                hi_changed_at = hi_changed_at - interval '1 day'
            WHERE id = :chat
            """,
            chat=talk.chat_id,
        )


def test_changes_have_no_hole_however_many_workers_make_them_at_once(make_bench: BenchFactory) -> None:
    benches = [make_bench(), make_bench()]
    talk = Talk.start(benches[0])
    count, rounds = 5, 12
    for _ in range(count):
        talk.send(talk.alice)
    together = threading.Barrier(len(benches))
    told: list[list[int]] = [[] for _ in benches]

    def work(number: int) -> None:
        user = people(talk)[number]
        for turn in range(rounds):
            asked = [
                talk.event(user, "react", seq=seq, emoji=LIKE, on=turn % 2 == 0)
                for seq in range(1, count + 1)
            ]
            asked.append(talk.event(talk.alice, "edit_message", seq=1, text=f"{number} {turn}"))
            together.wait()
            reply = benches[number].ask(*asked)
            assert all(reply.answers[one.id].failure is None for one in asked)
            told[number] += [message["change"] for message in reply.emitted("message_changed", talk.bob)]

    with ThreadPoolExecutor(len(benches)) as threads:
        for done in [threads.submit(work, number) for number in range(len(benches))]:
            done.result()
    made = sorted(change for changes in told for change in changes)
    (last,) = talk.bench.rows("SELECT change FROM chats WHERE id = :chat", chat=talk.chat_id)
    assert sorted(set(made)) == [*range(1, last.change + 1)]
    stored = [talk.row(seq).change for seq in range(1, count + 1)]
    assert talk.changes() == sorted(stored)
    assert max(stored) == last.change


VARIANTS = {
    "a flag": "\U0001f1e9\U0001f1ea",
    "a keycap": "1\ufe0f\u20e3",
    "a skin tone": "\U0001f44d\U0001f3fd",
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "a subdivision": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "a selector": HEART,
    "two skin tones": "\U0001f9d1\U0001f3fb\u200d\U0001f91d\u200d\U0001f9d1\U0001f3ff",
    "a flag of a sequence": "\U0001f3f3\ufe0f\u200d\U0001f308",
}


@pytest.mark.parametrize("emoji", VARIANTS.values(), ids=VARIANTS)
def test_every_kind_of_emoji_is_a_reaction(talk: Talk, emoji: str) -> None:
    talk.send(talk.alice)
    assert talk.react(talk.bob, 1, emoji)["reactions"] == [{"emoji": emoji, "userIds": [str(talk.bob)]}]


def test_every_emoji_of_unicode_is_one_reaction_however_it_is_written() -> None:
    for written, about in EMOJI_DATA.items():
        stored = to_emoji(written)
        assert EMOJI_DATA[stored]["status"] in (STATUS["fully_qualified"], STATUS["component"])
        assert to_emoji(stored) == stored
        if about["status"] == STATUS["fully_qualified"]:
            assert stored == written


def test_an_emoji_with_and_without_its_selector_is_the_same_reaction(talk: Talk) -> None:
    talk.send(talk.alice)
    talk.react(talk.bob, 1, "\u2764")
    assert talk.react(talk.bob, 1, HEART)["change"] == 1
    assert "reactions" not in talk.react(talk.bob, 1, "\u2764", on=False)


NO_EMOJI = {
    "nothing": "",
    "a letter": "a",
    "a digit": "1",
    "a sign": "#",
    "two": LIKE * 2,
    "a blank before": f" {LIKE}",
    "a letter behind": f"{LIKE}a",
    "a selector alone": "\ufe0f",
    "a joiner alone": "\u200d",
    "a joiner behind": f"{LIKE}\u200d",
    "half a flag": "\U0001f1e9",
    "no country": "\U0001f1e6\U0001f1e6",
    "as text": "\u2764\ufe0e",
    "a name": ":+1:",
    "a NUL": "\0",
    "very long": LIKE * 65,
}


@pytest.mark.parametrize("written", NO_EMOJI.values(), ids=NO_EMOJI)
def test_nothing_else_is_a_reaction(talk: Talk, written: str) -> None:
    talk.send(talk.alice)
    refused = talk.refused(talk.bob, "react", seq=1, emoji=written, on=True)
    assert refused == ErrorCode.INVALID_PAYLOAD
    assert talk.changes() == []
