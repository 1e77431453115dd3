"""Replies show what they answer as it is now; people are addressed by id as well as by name."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from infra.wire.errors import ErrorCode
from tests.harness.talk import Talk
from tests.harness.worker_bench import WorkerBench
from workers.batch_processor import BatchProcessor
from workers.handlers import send_message as module
from workers.new_messages import store_messages

LOCK = "SELECT 1 FROM chats WHERE id = :chat FOR UPDATE"


@pytest.fixture
def talk(bench: WorkerBench) -> Talk:
    return Talk.start(bench)


def everywhere(talk: Talk, seq: int) -> list[Any]:
    """Return what each place that shows the newest message says that it answers."""
    joined = talk.bench.event(talk.bob, "join_chat", {"username": talk.alices_name})
    gap = talk.gap(talk.bob, seq - 1)
    shown = [
        talk.page(talk.bob)[-1],
        talk.page(talk.bob, after=seq - 1)[-1],
        talk.bench.ask(joined).ack(joined)["messages"][-1],
        talk.only(talk.bob)["lastMessage"],
        gap["messages"][-1],
    ]
    assert all(message["seq"] == seq for message in shown)
    return [message["replyTo"] for message in shown]


def test_a_reply_quotes_its_message_wherever_it_is_shown(talk: Talk) -> None:
    talk.send(talk.alice, "question")
    asked = talk.sending(talk.bob, "answer", replyTo=1)
    reply = talk.bench.ask(asked)
    quote = {"seq": 1, "senderId": str(talk.alice), "senderUsername": talk.alices_name, "text": "question"}
    assert reply.ack(asked)["message"]["replyTo"] == quote
    for user, event in ((talk.alice, "new_message"), (talk.bob, "message_sent")):
        assert [message["replyTo"] for message in reply.emitted(event, user)] == [quote]
    assert everywhere(talk, 2) == [quote] * 5
    assert talk.row(2).reply_to == 1


def test_a_quote_ends_after_200_characters(talk: Talk) -> None:
    long = "\U0001f600" * 150 + "x" * 51
    talk.send(talk.alice, long)
    assert talk.send(talk.bob, replyTo=1)["replyTo"]["text"] == long[:200]
    assert everywhere(talk, 2)[0]["text"] == long[:200]


def test_a_quote_shows_its_message_as_it_is_now(talk: Talk) -> None:
    talk.send(talk.alice, "question")
    first = talk.send(talk.bob, "answer", replyTo=1)
    talk.edit(talk.alice, 1, "another question")
    assert {quote["text"] for quote in everywhere(talk, 2)} == {"another question"}
    left = talk.unsend(talk.alice, 1)
    unsent = {**first["replyTo"], "text": "", "change": 2, "deletedAt": left["deletedAt"]}
    assert everywhere(talk, 2) == [unsent] * 5
    assert talk.send(talk.bob, "another answer", replyTo=1)["replyTo"] == unsent
    assert talk.react(talk.alice, 2, "\U0001f44d")["replyTo"] == unsent


def test_a_quote_shows_the_present_name_of_its_sender(talk: Talk) -> None:
    talk.send(talk.alice)
    talk.send(talk.bob, replyTo=1)
    renamed = f"{talk.alices_name}_new"
    talk.bench.rows(
        "UPDATE profiles SET username = :name, username_key = :name WHERE id = :id",
        name=renamed,
        id=talk.alice,
    )
    quoted = talk.page(talk.bob)[1]["replyTo"]
    assert quoted["senderUsername"] == renamed


def test_a_quote_of_a_message_that_is_not_stored_has_its_seq_alone(talk: Talk) -> None:
    talk.send(talk.alice)
    talk.send(talk.bob, replyTo=1)
    talk.bench.rows("DELETE FROM messages WHERE chat_id = :chat AND seq = 1", chat=talk.chat_id)
    assert everywhere(talk, 2) == [{"seq": 1}] * 5
    assert talk.send(talk.bob, "another answer", replyTo=1)["replyTo"] == {"seq": 1}


@pytest.mark.parametrize("seq", [0, 2, 2**63 - 1])
def test_a_reply_to_no_message_is_refused_alone(talk: Talk, seq: int) -> None:
    talk.send(talk.alice)
    bad = talk.sending(talk.bob, "to nothing", replyTo=seq, clientId="bad")
    good = [talk.sending(talk.bob, "one", replyTo=1), talk.sending(talk.bob, "two")]
    reply = talk.bench.ask(good[0], bad, good[1])
    failure = reply.failure(bad)
    assert (failure.code, failure.client_id) == (ErrorCode.MESSAGE_NOT_FOUND, "bad")
    assert [reply.ack(one)["message"]["seq"] for one in good] == [2, 3]


def test_a_reply_in_a_chat_that_does_not_exist_is_refused(bench: WorkerBench) -> None:
    (alice, _), (_, bobs_name) = bench.people("alice", "bob")
    asked = bench.send(alice, bobs_name, "hello", replyTo=1)
    assert bench.ask(asked).failure(asked).code == ErrorCode.MESSAGE_NOT_FOUND
    lost = bench.send(alice, "nobody", "hello", replyTo=1)
    assert bench.ask(lost).failure(lost).code == ErrorCode.USER_NOT_FOUND


def test_a_reply_never_quotes_another_chat(talk: Talk) -> None:
    for _ in range(3):
        talk.send(talk.alice, "secret")
    carol, _ = talk.bench.person("carol")
    asked = talk.bench.send(carol, talk.alices_name, "hello")
    talk.bench.ask(asked)
    forged = talk.bench.send(carol, talk.alices_name, "forged", replyTo=3)
    assert talk.bench.ask(forged).failure(forged).code == ErrorCode.MESSAGE_NOT_FOUND


def test_a_retry_of_a_reply_is_stored_once_and_quotes_the_same(talk: Talk) -> None:
    talk.send(talk.alice, "question")
    asked = talk.sending(talk.bob, "answer", replyTo=1, clientId="his")
    first = talk.bench.ask(asked).ack(asked)
    assert talk.bench.ask(asked).ack(asked) == first
    assert talk.bench.seqs(talk.chat_id) == [1, 2]


def by_id(bench: WorkerBench, sender: uuid.UUID, to: uuid.UUID, words: str, **more: Any) -> Any:
    return bench.event(sender, "send_message", {"userId": str(to), "text": words, **more})


def test_a_message_to_an_id_opens_the_chat_that_the_name_has(bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    asked = [by_id(bench, alice, bob, "one"), bench.send(alice, bobs_name, "two")]
    reply = bench.ask(*asked)
    messages = [reply.ack(one)["message"] for one in asked]
    assert len({message["chatId"] for message in messages}) == 1
    assert [(message["seq"], message["recipientId"]) for message in messages] == [
        (1, str(bob)),
        (2, str(bob)),
    ]
    assert {message["recipientUsername"] for message in messages} == {bobs_name}
    joined = bench.event(alice, "join_chat", {"userId": str(bob)})
    ack = bench.ask(joined).ack(joined)
    assert ack["chatId"] == messages[0]["chatId"]
    assert ack["peer"]["username"] == bobs_name


def test_a_message_that_is_unsent_while_it_is_answered_shows_nothing(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = talk.send(talk.bob, "a secret")["seq"]

    def store_later(*arguments: Any) -> Any:
        monkeypatch.undo()
        talk.unsend(talk.bob, first)
        return store_messages(*arguments)

    monkeypatch.setattr(module, "store_messages", store_later)
    answered = talk.sending(talk.alice, "what?", replyTo=first)
    reply = talk.bench.ask(answered)
    (quote,) = (message["replyTo"] for message in reply.emitted("new_message", talk.bob))
    assert (quote["text"], quote["change"]) == ("", 1)
    assert "deletedAt" in quote


def test_the_messages_of_a_batch_keep_their_order_however_they_are_addressed(talk: Talk) -> None:
    asked = [
        by_id(talk.bench, talk.alice, talk.bob, f"{n}")
        if n % 3
        else talk.sending(talk.alice, f"{n}", **({"userId": str(talk.bob)} if n % 2 else {}))
        for n in range(30)
    ]
    reply = talk.bench.ask(*asked)
    assert [reply.ack(one)["message"]["seq"] for one in asked] == [*range(1, 31)]
    assert {message["recipientId"] for message in talk.page(talk.bob, limit=100)} == {str(talk.bob)}


def test_an_id_wins_over_a_name_which_somebody_else_may_have_by_now(talk: Talk) -> None:
    carol, _ = talk.bench.person("carol")
    assert talk.send(talk.alice, userId=str(carol))["recipientId"] == str(carol)
    joined = talk.event(talk.alice, "join_chat", username=talk.bobs_name, userId=str(carol))
    assert talk.bench.ask(joined).ack(joined)["peer"]["userId"] == str(carol)


@pytest.mark.parametrize("name", ["send_message", "join_chat"])
def test_an_unknown_id_and_nobody_are_refused(bench: WorkerBench, name: str) -> None:
    alice, _ = bench.person("alice")
    words = {"text": "x"} if name == "send_message" else {}
    unknown = bench.event(alice, name, {"userId": str(uuid.uuid4()), **words})
    nobody = bench.event(alice, name, words)
    bad = bench.event(alice, name, {"userId": "bob", **words})
    reply = bench.ask(unknown, nobody, bad)
    assert [reply.failure(one).code for one in (unknown, nobody, bad)] == [
        ErrorCode.USER_NOT_FOUND,
        ErrorCode.INVALID_PAYLOAD,
        ErrorCode.INVALID_PAYLOAD,
    ]


def test_a_deleted_user_is_not_found_by_id(talk: Talk) -> None:
    talk.bench.rows("UPDATE profiles SET deleted_at = now() WHERE id = :id", id=talk.bob)
    asked = by_id(talk.bench, talk.alice, talk.bob, "hello")
    assert talk.bench.ask(asked).failure(asked).code == ErrorCode.USER_NOT_FOUND
    assert talk.bench.seqs(talk.chat_id) == []


def test_a_note_to_self_may_name_the_own_id(bench: WorkerBench) -> None:
    alice, name = bench.person("alice")
    asked = [by_id(bench, alice, alice, "one"), bench.send(alice, name, "two", replyTo=1)]
    first, second = bench.ask(asked[0]), bench.ask(asked[1])
    assert first.ack(asked[0])["message"]["recipientId"] == str(alice)
    assert second.ack(asked[1])["message"]["replyTo"]["text"] == "one"


def test_typing_may_name_the_peer_by_id(talk: Talk) -> None:
    typed = talk.bench.event(talk.alice, "typing", {"isTyping": True, "userId": str(talk.bob)})
    (told,) = talk.bench.ask(typed).emitted("typing", talk.bob)
    assert told["userId"] == str(talk.alice)


@contextmanager
def held(talk: Talk) -> Iterator[None]:
    with talk.bench.engine.connect() as conn, conn.begin() as transaction:
        conn.execute(text(LOCK), {"chat": talk.chat_id})
        yield
        transaction.rollback()


def mixed(talk: Talk, count: int) -> list[Any]:
    return [
        talk.sending(talk.alice, f"{n}")
        if n % 2
        else by_id(talk.bench, talk.alice, talk.bob, f"{n}", replyTo=1 if n % 4 else None)
        for n in range(count)
    ]


def test_messages_to_a_locked_chat_fail_together_and_keep_their_order(talk: Talk) -> None:
    talk.send(talk.alice)
    asked = mixed(talk, 8)
    with held(talk):
        reply = talk.bench.ask(*asked)
    assert {reply.failure(one).code for one in asked} == {ErrorCode.UNAVAILABLE}
    reply = talk.bench.ask(*asked)
    assert [reply.ack(one)["message"]["seq"] for one in asked] == [*range(2, 10)]


def test_batches_to_a_chat_that_is_locked_now_and_then_keep_their_order(talk: Talk) -> None:
    talk.send(talk.alice)
    done = threading.Event()

    def lock_and_unlock() -> None:
        with talk.bench.engine.connect() as conn:
            while not done.is_set():
                with conn.begin():
                    conn.execute(text(LOCK), {"chat": talk.chat_id})

    impatient = replace(talk.bench.context, patient=False)
    processor = BatchProcessor(talk.bench.worker_engine, talk.bench.publisher, impatient)
    refused = 0
    with ThreadPoolExecutor(1) as threads:
        locking = threads.submit(lock_and_unlock)
        try:
            # On a busy machine the other thread may get no turn for a while.
            for turn in range(2_000):
                if turn >= 60 and refused:
                    break
                asked = mixed(talk, 40)
                processor.process([talk.bench.batch(asked)])
                answers = talk.bench.read().answers
                failed = [answers[one.id].failure is not None for one in asked]
                assert failed == sorted(failed), "a message was stored behind one that was refused"
                refused += sum(failed)
        finally:
            done.set()
        locking.result()
    assert refused, "no batch came while the chat was locked"
    rows = talk.bench.rows(
        "SELECT text FROM messages WHERE chat_id = :chat AND seq > 1 ORDER BY seq", chat=talk.chat_id
    )
    words = [int(row.text) for row in rows]
    assert words
    assert words == [*range(40)] * (len(words) // 40)
