"""What the app says in the chat of two users: it always passes, and nobody has written because of it."""

import threading
from typing import Any
from uuid import UUID

import msgspec
import pytest

from infra.store.boxes import REQUEST_MESSAGES
from infra.wire.batch import Event
from infra.wire.errors import ErrorCode
from infra.wire.server_api import NOBODY
from tests.harness.two import Person, Two
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory

WISHES = ["everyone", "requests", "nobody"]


@pytest.fixture
def two(bench: WorkerBench) -> Two:
    return Two.strangers(bench)


def saying(two: Two, person: Person, words: str = "Your order was shipped.", **more: Any) -> Event:
    """Return what the app says in the chat of a person with the other one."""
    return two.event(person, "send_system_message", userId=str(two.other(person).id), text=words, **more)


def say(two: Two, person: Person, words: str = "Your order was shipped.", **more: Any) -> Any:
    """Say it; return the message, or the code of the failure."""
    (result,) = two.ask(saying(two, person, words, **more))
    return result["message"] if isinstance(result, dict) else result


def react(two: Two, person: Person, seq: int) -> Any:
    return two.do(person, "react", chatId=two.chat_id, seq=seq, emoji="👍", on=True)


def test_it_has_a_kind_everywhere_and_others_have_none(two: Two) -> None:
    sent = say(two, two.alice, data={"order": 7}, clientId="one")
    assert (sent["kind"], sent["senderId"]) == ("system", str(two.alice.id))
    assert two.heard(two.bob, "new_message") == two.heard(two.alice, "message_sent") == [sent]
    plain = two.send(two.bob, "thanks")
    assert "kind" not in plain
    for person in (two.alice, two.bob):
        page = two.do(person, "get_messages", chatId=two.chat_id)["messages"]
        assert [one.get("kind") for one in page] == ["system", None]
        (gap,) = two.do(person, "sync", cursors={two.chat_id: 0})["chats"]
        assert [one.get("kind") for one in gap["messages"]] == ["system", None]
    kinds = two.bench.rows("SELECT kind FROM messages WHERE chat_id = :chat ORDER BY seq", chat=two.chat_id)
    assert [row.kind for row in kinds] == ["system", None]


def test_both_see_the_chat_and_only_the_recipient_has_it_unread(two: Two) -> None:
    two.settings(two.alice, messagesFrom="nobody")
    two.settings(two.bob, messagesFrom="nobody")
    sent = say(two, two.alice)
    for person, unread in ((two.alice, 0), (two.bob, 1)):
        (chat,) = two.listed(person, "inbox")
        assert (chat["lastMessage"]["id"], chat["unread"]) == (sent["id"], unread)
        (told,) = two.bench.ask(two.event(person, "catch_up")).emitted("unread_changed", person.id)
        assert told == {"total": unread, "chats": unread}


def test_it_is_stored_once_however_often_it_is_said(two: Two) -> None:
    event = saying(two, two.alice, clientId="one")
    (first,) = two.ask(event)
    assert two.ask(event, saying(two, two.alice, "something else", clientId="one")) == [first, first]
    say(two, two.alice, clientId="two")
    assert two.bench.seqs(two.chat_id) == [1, 2]
    assert two.bench.rows("SELECT system_messages FROM chats WHERE id = :chat", chat=two.chat_id) == [(2,)]


def test_a_repetition_is_answered_with_what_its_sender_has_written_under_the_same_id(two: Two) -> None:
    written = two.send(two.alice, clientId="one")
    assert say(two, two.alice, clientId="one") == written
    assert say(two, two.bob, clientId="one")["kind"] == "system"


def test_messages_of_a_sender_keep_their_order_whoever_says_them(two: Two) -> None:
    events = [
        saying(two, two.alice, "1"),
        two.sending(two.alice, "2"),
        saying(two, two.alice, "3"),
        saying(two, two.alice, "4"),
        two.sending(two.alice, "5"),
    ]
    results = two.ask(two.sending(two.bob, "b"), saying(two, two.bob, "c"), *events)
    by_alice = [one["message"] for one in results[2:]]
    assert [one["text"] for one in sorted(by_alice, key=lambda one: int(one["seq"]))] == list("12345")
    assert two.bench.seqs(two.chat_id) == list(range(1, 8))
    assert results[0]["message"]["seq"] < results[1]["message"]["seq"]


def test_many_at_once_in_many_chats(make_bench: BenchFactory) -> None:
    """Three workers, each with messages of users and of the system in the same chats: none is lost."""
    benches = [make_bench() for _ in range(3)]
    chats = [Two.strangers(benches[0]) for _ in range(4)]
    together = threading.Barrier(len(benches))

    def speak(bench: WorkerBench) -> None:
        own = [Two(bench, two.alice, two.bob) for two in chats]
        together.wait()
        for _ in range(3):
            results = bench.ask(
                *(event for two in own for event in (saying(two, two.alice), two.sending(two.bob)))
            )
            assert all(answer.failure is None for answer in results.answers.values())

    threads = [threading.Thread(target=speak, args=(bench,)) for bench in benches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for two in chats:
        assert two.bench.seqs(two.chat_id) == list(range(1, 19))
        assert two.bench.rows("SELECT system_messages FROM chats WHERE id = :id", id=two.chat_id) == [(9,)]


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("blocking", ["alice", "bob"])
def test_it_passes_a_block_and_the_block_stays(two: Two, wish: str, blocking: str) -> None:
    two.settings(two.bob, messagesFrom=wish)
    two.block(getattr(two, blocking))
    sent = say(two, two.alice)
    assert two.heard(two.bob, "new_message") == [sent]
    assert len(two.listed(two.alice)) == len(two.listed(two.bob)) == 1
    for person in (two.alice, two.bob):
        assert two.send(person) is ErrorCode.NOT_ALLOWED
        assert react(two, person, 1) is ErrorCode.NOT_ALLOWED
    two.confirm(two.bob, 1)
    two.do(two.bob, "mark_as_read", chatId=two.chat_id, upTo=1)
    assert two.heard(two.alice, "message_status") == []
    assert two.statuses(two.alice) == ["sent"]
    two.block(getattr(two, blocking), on=False)
    assert two.heard(two.alice, "message_status") == []


def test_it_passes_settings_and_lets_nobody_in(two: Two) -> None:
    two.settings(two.bob, messagesFrom="nobody")
    for _ in range(REQUEST_MESSAGES + 1):
        assert isinstance(say(two, two.alice), dict)
    assert two.send(two.alice) is ErrorCode.NOT_ALLOWED
    assert two.heard(two.bob, "chat_changed") == []
    assert "box" not in two.listed(two.bob, "inbox")[0]


def test_it_is_no_request_and_takes_none_away(two: Two) -> None:
    two.settings(two.bob, messagesFrom="requests")
    for _ in range(REQUEST_MESSAGES + 1):
        say(two, two.alice)
        assert two.heard(two.bob, "chat_changed") == []
    assert two.listed(two.bob, "requests") == []
    for _ in range(REQUEST_MESSAGES):
        assert isinstance(two.send(two.alice, "may I?"), dict)
        assert isinstance(say(two, two.alice), dict)
        assert isinstance(say(two, two.bob), dict)
    assert two.send(two.alice) is ErrorCode.NOT_ALLOWED
    (request,) = two.listed(two.bob, "requests")
    assert request["unread"] == 2 * REQUEST_MESSAGES + REQUEST_MESSAGES + 1


def test_what_is_unread_in_a_request_counts_no_more_and_the_recipient_hears_of_it(two: Two) -> None:
    two.settings(two.bob, messagesFrom="requests")
    say(two, two.alice)
    two.send(two.alice, "may I?")
    assert two.heard(two.bob, "unread_changed") == [{"total": 0, "chats": 0}]


@pytest.mark.parametrize("box", ["requests", "declined"])
@pytest.mark.parametrize("by_recipient", [False, True])
def test_it_accepts_no_request(two: Two, box: str, by_recipient: bool) -> None:
    """Not even if it is said as the one who would have to accept it."""
    two.settings(two.bob, messagesFrom="requests")
    two.send(two.alice)
    if box == "declined":
        two.do(two.bob, "decline_chat", chatId=two.chat_id)
    say(two, two.bob if by_recipient else two.alice)
    assert two.heard(two.alice, "chat_changed") == two.heard(two.bob, "chat_changed") == []
    two.confirm(two.bob, 2)
    assert two.heard(two.alice, "message_status") == []
    assert len(two.listed(two.bob, box)) == 1
    assert two.peer(two.alice)["deliveredUpTo"] == 0


@pytest.mark.parametrize("wish", WISHES)
def test_nobody_sees_receipts_or_presence_before_somebody_has_written(two: Two, wish: str) -> None:
    two.settings(two.bob, messagesFrom=wish, showPresence="chats")
    two.do(two.alice, "join_chat", userId=str(two.bob.id))
    say(two, two.alice)
    say(two, two.bob)
    two.confirm(two.bob, 2)
    assert two.heard(two.alice, "message_status") == []
    two.do(two.bob, "mark_as_read", chatId=two.chat_id, upTo=2)
    two.do(two.bob, "set_chat", chatId=two.chat_id, mutedUntil="2099-01-01T00:00:00Z")
    assert two.heard(two.alice, "message_status", "user_status") == []
    two.do(two.bob, "announce")
    assert two.heard(two.alice, "user_status") == []
    peer = two.peer(two.alice)
    assert (peer["online"], peer["deliveredUpTo"], peer["readUpTo"]) == (False, 0, 0)


@pytest.mark.parametrize("first", ["alice", "bob"])
def test_receipts_and_presence_are_seen_once_both_have_written(two: Two, first: str) -> None:
    say(two, two.alice)
    say(two, two.bob)
    one = getattr(two, first)
    two.send(one)
    assert not two.peer(two.alice)["online"]
    two.confirm(two.bob, 3)
    assert two.peer(two.alice)["deliveredUpTo"] == 3
    say(two, two.alice)
    say(two, two.bob)
    assert not two.peer(two.alice)["online"]
    two.send(two.other(one))
    assert two.peer(two.alice)["online"]
    say(two, two.alice)
    say(two, two.bob)
    assert two.peer(two.alice)["online"]
    two.confirm(two.bob, 8)
    (status,) = two.heard(two.alice, "message_status")
    assert (status["status"], status["upTo"]) == ("delivered", 8)


@pytest.mark.parametrize("let_in", ["accept_chat", "set_chat"])
def test_receipts_are_seen_once_the_chat_is_accepted(two: Two, let_in: str) -> None:
    say(two, two.alice)
    two.confirm(two.bob, 1)
    two.do(two.bob, let_in, chatId=two.chat_id, **({} if let_in == "accept_chat" else {"pinned": True}))
    assert [one["upTo"] for one in two.heard(two.alice, "message_status")] == [1]


def test_neither_edits_it_nor_takes_it_back_and_the_backend_can(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    seq = say(two, two.alice)["seq"]
    of_it = {"chatId": two.chat_id, "seq": seq}
    for person in (two.alice, two.bob):
        assert two.do(person, "edit_message", text="no", **of_it) is ErrorCode.NOT_ALLOWED
        assert two.do(person, "unsend_message", **of_it) is ErrorCode.NOT_ALLOWED
    backend = Person(UUID(NOBODY), "backend")
    revised = two.do(backend, "revise_message", text="Your order is late.", **of_it)["message"]
    assert (revised["text"], revised["kind"]) == ("Your order is late.", "system")
    removed = two.do(backend, "remove_message", **of_it)["message"]
    assert (removed["text"], removed["kind"]) == ("", "system")


def test_both_can_react_to_it_and_answer_it(two: Two) -> None:
    sent = say(two, two.alice)
    for person in (two.alice, two.bob):
        assert react(two, person, sent["seq"])["message"]["kind"] == "system"
        answer = two.send(person, replyTo=sent["seq"])
        assert (answer["replyTo"]["text"], answer["replyTo"]["kind"]) == (sent["text"], "system")
    assert two.do(two.bob, "get_messages", chatId=two.chat_id)["messages"][-1] == answer
    assert say(two, two.alice, replyTo=2)["replyTo"].keys().isdisjoint({"kind"})


@pytest.mark.parametrize("wish", ["requests", "nobody"])
def test_who_would_have_to_ask_cannot_speak_by_reactions(two: Two, wish: str) -> None:
    two.settings(two.bob, messagesFrom=wish)
    say(two, two.alice)
    say(two, two.bob)
    for seq in (1, 2):
        assert react(two, two.alice, seq) is ErrorCode.NOT_ALLOWED
        assert isinstance(react(two, two.bob, seq), dict)


def test_a_reply_to_what_is_not_there_is_refused(two: Two) -> None:
    assert say(two, two.alice, replyTo=1) is ErrorCode.MESSAGE_NOT_FOUND


def test_a_note_of_the_app_to_one_user(two: Two) -> None:
    (result,) = two.ask(
        two.event(two.alice, "send_system_message", userId=str(two.alice.id), text="Welcome!")
    )
    assert result["message"]["kind"] == "system"
    assert len(two.heard(two.alice, "message_sent")) == len(two.heard(two.alice, "new_message")) == 1


def test_who_has_no_profile_has_no_such_chat(two: Two) -> None:
    stranger = Person(UUID(int=7), "nobody")
    (result,) = two.ask(two.event(stranger, "send_system_message", userId=str(two.alice.id), text="hello"))
    assert result is ErrorCode.PROFILE_MISSING


def test_webhooks_tell_it_with_its_kind(make_bench: BenchFactory) -> None:
    two = Two.strangers(make_bench(webhooks={"message.created": ("app",)}))
    sent = say(two, two.alice, data={"order": 7}, clientId="one")
    plain = two.send(two.bob)
    rows = two.bench.rows("SELECT body FROM outbox WHERE about = :chat ORDER BY number", chat=two.chat_id)
    assert [msgspec.json.decode(row.body) for row in rows] == [sent, plain]
