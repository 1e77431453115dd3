"""Who clears a chat sees nothing of what it had, wherever they look; the peer keeps it all."""

import uuid
from typing import Any

import msgspec
import pytest

from infra.wire.commands import CatchUp
from infra.wire.errors import ErrorCode
from infra.wire.inbox import CatchUpPage, Position
from tests.harness.talk import Talk
from tests.harness.worker_bench import WorkerBench

LIKE = "\U0001f44d"


@pytest.fixture
def talk(bench: WorkerBench) -> Talk:
    """A chat with three messages to bob and one of his."""
    talk = Talk.start(bench)
    for words in ("one", "two", "three"):
        talk.send(talk.alice, words)
    talk.send(talk.bob, "four")
    return talk


def clear(talk: Talk, user: uuid.UUID, **up_to: int) -> int:
    ack = talk.ask(user, "clear_chat", **up_to)
    assert ack.keys() == {"success", "clearedUpTo"}
    return int(ack["clearedUpTo"])


def seqs(messages: list[Any]) -> list[int]:
    return [message["seq"] for message in messages]


def joined(talk: Talk, user: uuid.UUID) -> Any:
    peer = talk.alices_name if user == talk.bob else talk.bobs_name
    event = talk.bench.event(user, "join_chat", {"username": peer})
    return talk.bench.ask(event).ack(event)


def caught_up(talk: Talk, user: uuid.UUID, **more: Any) -> list[int]:
    """Return what a new socket gets."""
    cursors, pages = None, []
    while True:
        command = CatchUp(after=cursors, **more)
        event = talk.bench.event(user, "catch_up", msgspec.json.encode(command))
        answer = talk.bench.ask(event).answers[event.id]
        page = msgspec.json.decode(answer.data, type=CatchUpPage)
        pages += [message.position.seq for message in page.messages]
        if (cursors := page.next) is None:
            return pages


def test_who_has_cleared_a_chat_sees_none_of_its_messages_anywhere(talk: Talk) -> None:
    assert clear(talk, talk.bob) == 4
    for where in ({}, {"before": 3}, {"before": 100}, {"after": 0}, {"after": 2}, {"after": 4}):
        page = talk.ask(talk.bob, "get_messages", **where)
        assert (page["messages"], page["hasMore"], page.get("archivedBefore")) == ([], False, None), where
    ack = joined(talk, talk.bob)
    assert (ack["messages"], ack["hasMore"], ack["clearedUpTo"]) == ([], False, 4)
    assert talk.gap(talk.bob, 0) is None
    assert caught_up(talk, talk.bob) == []
    assert caught_up(talk, talk.bob, lost_s=3_600.0) == []
    listed = talk.only(talk.bob)
    assert (listed["lastMessage"], listed["unread"], listed["clearedUpTo"]) == (None, 0, 4)
    assert (listed["lastSeq"], listed["readUpTo"], listed["deliveredUpTo"]) == (4, 4, 4)


def test_a_client_without_cursors_is_told_nothing_of_a_cleared_chat(talk: Talk) -> None:
    clear(talk, talk.bob)
    event = talk.bench.event(talk.bob, "sync", {"cursors": {}})
    assert talk.bench.ask(event).ack(event)["chats"] == []


def test_the_peer_keeps_everything(talk: Talk) -> None:
    before = talk.page(talk.alice)
    clear(talk, talk.bob)
    # Bob has read the messages to him, as far as alice can tell; nothing else is different.
    assert talk.page(talk.alice) == [
        {**message, "status": "read"} if message["senderId"] == str(talk.alice) else message
        for message in before
    ]
    assert "clearedUpTo" not in joined(talk, talk.alice)
    listed = talk.only(talk.alice)
    assert (listed["lastMessage"]["seq"], listed["unread"]) == (4, 1)
    assert "clearedUpTo" not in listed
    gap = talk.gap(talk.alice, 0)
    assert seqs(gap["messages"]) == [1, 2, 3, 4]
    assert "clearedUpTo" not in gap


def test_later_messages_are_shown_as_usual(talk: Talk) -> None:
    clear(talk, talk.bob)
    five = talk.send(talk.alice, "five", replyTo=1)
    assert talk.page(talk.bob) == [five]
    assert joined(talk, talk.bob)["messages"] == [five]
    assert caught_up(talk, talk.bob) == [5]
    listed = talk.only(talk.bob)
    assert (listed["lastMessage"], listed["unread"]) == (five, 1)
    for cursor in (0, 2, 4, {"seq": 0}, {"seq": 4, "clearedUpTo": 4}):
        gap = talk.gap(talk.bob, cursor)
        assert (gap["messages"], gap["hasMore"], gap["clearedUpTo"]) == ([five], False, 4)
    assert talk.gap(talk.bob, 5) is None
    assert talk.react(talk.bob, 5, LIKE)["change"] == 1


def test_a_chat_is_cleared_up_to_a_message(talk: Talk) -> None:
    assert clear(talk, talk.bob, upTo=2) == 2
    assert seqs(talk.page(talk.bob)) == [3, 4]
    page = talk.ask(talk.bob, "get_messages", before=4, limit=1)
    assert (seqs(page["messages"]), page["hasMore"]) == ([3], False)
    page = talk.ask(talk.bob, "get_messages", after=0, limit=1)
    assert (seqs(page["messages"]), page["hasMore"]) == ([3], True)
    assert caught_up(talk, talk.bob) == [3]
    listed = talk.only(talk.bob)
    assert (listed["unread"], listed["readUpTo"], listed["lastMessage"]["seq"]) == (1, 2, 4)


def test_what_is_cleared_never_comes_back(talk: Talk) -> None:
    assert clear(talk, talk.bob, upTo=3) == 3
    assert clear(talk, talk.bob, upTo=1) == 3
    assert clear(talk, talk.bob, upTo=0) == 3
    assert seqs(talk.page(talk.bob)) == [4]


def test_no_message_is_cleared_before_it_is_sent(talk: Talk) -> None:
    assert clear(talk, talk.bob, upTo=2**63 - 1) == 4
    talk.send(talk.alice, "five")
    assert seqs(talk.page(talk.bob)) == [5]


def test_a_retry_with_a_seq_clears_nothing_newer_and_tells_the_others_again(talk: Talk) -> None:
    asked = talk.event(talk.bob, "clear_chat", upTo=4)
    as_usual = {"box": "inbox", "pinned": False, "mutedUntil": None, "blocked": False}
    told = {"chatId": talk.chat_id, "clearedUpTo": 4, **as_usual}
    first = talk.bench.ask(asked)
    talk.send(talk.alice, "five")
    again = talk.bench.ask(asked)
    for reply in (first, again):
        assert reply.ack(asked) == {"success": True, "clearedUpTo": 4}
        assert reply.emitted("chat_changed", talk.bob) == [told]
        assert reply.emitted("chat_changed", talk.alice) == []
    assert seqs(talk.page(talk.bob)) == [5]


def test_clearing_counts_as_reading_and_is_told_as_such_once(talk: Talk) -> None:
    asked = talk.event(talk.bob, "clear_chat", upTo=2)
    reply = talk.bench.ask(asked)
    (status,) = reply.emitted("message_status", talk.alice)
    assert {key: status[key] for key in ("chatId", "userId", "status", "upTo")} == {
        "chatId": talk.chat_id,
        "userId": str(talk.bob),
        "status": "read",
        "upTo": 2,
    }
    assert reply.emitted("message_status", talk.bob) == [status]
    assert reply.answers[asked.id].acked_up_to == Position(talk.chat_id, 2)
    again = talk.bench.ask(asked)
    assert again.emitted("message_status", talk.alice) == []
    talk.ask(talk.bob, "mark_as_read", upTo=4)
    late = talk.bench.ask(talk.event(talk.bob, "clear_chat", upTo=3))
    assert late.emitted("message_status", talk.alice) == []
    assert talk.only(talk.bob)["readUpTo"] == 4


def test_a_device_that_was_away_learns_of_it(talk: Talk) -> None:
    clear(talk, talk.bob)
    gap = talk.gap(talk.bob, {"seq": 4})
    assert gap == {
        "chatId": talk.chat_id,
        "messages": [],
        "hasMore": False,
        "change": 0,
        "changes": [],
        "hasMoreChanges": False,
        "clearedUpTo": 4,
    }
    assert talk.gap(talk.bob, {"seq": 4, "clearedUpTo": 4}) is None
    assert talk.gap(talk.alice, {"seq": 4}) is None


def test_changes_of_what_is_cleared_are_not_told_to_who_was_away(talk: Talk) -> None:
    talk.edit(talk.alice, 1, "edited")
    talk.react(talk.alice, 4, LIKE)
    clear(talk, talk.bob, upTo=2)
    gap = talk.gap(talk.bob, {"seq": 4})
    assert (seqs(gap["changes"]), gap["hasMoreChanges"], gap["change"]) == ([4], False, 2)
    assert talk.gap(talk.bob, {"seq": 4, "change": 2, "clearedUpTo": 2}) is None
    gap = talk.gap(talk.alice, {"seq": 4})
    assert seqs(gap["changes"]) == [1, 4]


def test_a_chat_that_both_have_cleared_is_cleared_for_both_alone(talk: Talk) -> None:
    asked = [talk.event(talk.alice, "clear_chat", upTo=1), talk.event(talk.bob, "clear_chat", upTo=3)]
    reply = talk.bench.ask(*asked)
    assert [reply.ack(one)["clearedUpTo"] for one in asked] == [1, 3]
    assert seqs(talk.page(talk.alice)) == [2, 3, 4]
    assert seqs(talk.page(talk.bob)) == [4]


def test_several_requests_of_a_batch_clear_up_to_the_highest(talk: Talk) -> None:
    asked = [talk.event(talk.bob, "clear_chat", upTo=up_to) for up_to in (1, 3, 2)]
    reply = talk.bench.ask(*asked)
    assert [reply.ack(one)["clearedUpTo"] for one in asked] == [3, 3, 3]
    assert seqs(talk.page(talk.bob)) == [4]
    assert len(reply.emitted("message_status", talk.alice)) == 1


def test_a_note_to_self_is_cleared(bench: WorkerBench) -> None:
    alice, name = bench.person("alice")
    note = bench.send(alice, name, "note")
    chat_id = bench.ask(note).ack(note)["message"]["chatId"]
    cleared = bench.event(alice, "clear_chat", {"chatId": chat_id})
    listed = bench.event(alice, "list_chats", {})
    assert bench.ask(cleared).ack(cleared)["clearedUpTo"] == 1
    (chat,) = bench.ask(listed).ack(listed)["chats"]
    assert (chat["lastMessage"], chat["unread"]) == (None, 0)


def test_an_empty_chat_is_cleared(bench: WorkerBench) -> None:
    talk = Talk.start(bench)
    assert clear(talk, talk.bob) == 0
    talk.send(talk.alice)
    assert seqs(talk.page(talk.bob)) == [1]


def test_a_forged_chat_is_refused(talk: Talk) -> None:
    stranger, _ = talk.bench.person("mallory")
    assert talk.refused(stranger, "clear_chat") == ErrorCode.NOT_A_MEMBER
    forged = talk.bench.event(talk.bob, "clear_chat", {"chatId": str(uuid.uuid4())})
    assert talk.bench.ask(forged).failure(forged).code == ErrorCode.CHAT_NOT_FOUND
    assert seqs(talk.page(talk.bob)) == [1, 2, 3, 4]


def test_a_cleared_archive_is_not_pointed_at(talk: Talk) -> None:
    talk.bench.rows("DELETE FROM messages WHERE chat_id = :c AND seq <= 2", c=talk.chat_id)
    talk.bench.rows("INSERT INTO archived_chats VALUES (:c, '{[1,3)}')", c=talk.chat_id)
    assert talk.ask(talk.bob, "get_messages")["archivedBefore"] == 3
    clear(talk, talk.bob, upTo=2)
    assert "archivedBefore" not in talk.ask(talk.bob, "get_messages")
    assert "archivedBefore" not in talk.ask(talk.bob, "get_messages", after=0)
    assert "archivedBefore" not in joined(talk, talk.bob)
    assert "archivedBefore" not in talk.gap(talk.bob, {"seq": 0})
    assert talk.ask(talk.alice, "get_messages")["archivedBefore"] == 3
