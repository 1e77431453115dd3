"""Two people of whom one has blocked the other hear nothing of each other, and lose nothing."""

import threading
import uuid
from typing import Any

import msgspec
import pytest

from infra.wire.errors import ErrorCode
from tests.harness.two import Person, Two
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory
from workers.pages import ANSWER_BYTES

ANYTHING = ("new_message", "message_changed", "message_status", "typing", "user_status", "chat_changed")


@pytest.fixture(params=["who blocks", "who is blocked"])
def pair(bench: WorkerBench, request: pytest.FixtureRequest) -> tuple[Two, Person, Person]:
    """Two friends, one of whom has blocked the other: the one who acts, and the one who must not notice."""
    two = Two.friends(bench)
    two.block(two.alice)
    return (two, two.alice, two.bob) if request.param == "who blocks" else (two, two.bob, two.alice)


def test_neither_can_write(pair: tuple[Two, Person, Person]) -> None:
    two, actor, other = pair
    assert two.send(actor) is ErrorCode.NOT_ALLOWED
    assert two.heard(other, *ANYTHING) == []
    assert two.bench.seqs(two.chat_id) == [1, 2]


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("edit_message", {"text": "other words"}),
        ("react", {"emoji": "👍", "on": True}),
    ],
)
def test_neither_can_change_a_message(
    pair: tuple[Two, Person, Person], name: str, payload: dict[str, Any]
) -> None:
    two, actor, other = pair
    own = 1 if actor is two.alice else 2
    assert two.do(actor, name, chatId=two.chat_id, seq=own, **payload) is ErrorCode.NOT_ALLOWED
    assert two.heard(other, *ANYTHING) == []


def test_either_can_still_take_a_message_back(pair: tuple[Two, Person, Person]) -> None:
    two, actor, _ = pair
    own = 1 if actor is two.alice else 2
    assert two.do(actor, "unsend_message", chatId=two.chat_id, seq=own)["message"]["text"] == ""


@pytest.mark.parametrize("by", ["chatId", "userId"])
def test_neither_sees_the_other_typing(pair: tuple[Two, Person, Person], by: str) -> None:
    two, actor, other = pair
    named = {"chatId": two.chat_id} if by == "chatId" else {"userId": str(other.id)}
    assert two.do(actor, "typing", isTyping=True, **named) == {"success": True}
    assert two.heard(other, *ANYTHING) == []


def test_neither_sees_whether_the_other_is_online(pair: tuple[Two, Person, Person]) -> None:
    two, actor, other = pair
    two.settings(other, showPresence="everyone")
    peer = two.peer(actor)
    assert (peer["online"], peer["lastSeen"]) == (False, None)
    two.do(other, "announce")
    assert two.heard(actor, "user_status") == []


def test_neither_sees_what_the_other_receives_or_reads(pair: tuple[Two, Person, Person]) -> None:
    two, actor, other = pair
    before = two.peer(other), two.statuses(other)
    two.confirm(actor, 2)
    assert two.heard(other, *ANYTHING) == []
    two.do(actor, "mark_as_read", chatId=two.chat_id, upTo=2)
    assert two.heard(other, *ANYTHING) == []
    two.do(actor, "clear_chat", chatId=two.chat_id, upTo=2)
    assert two.heard(other, *ANYTHING) == []
    assert (two.peer(other), two.statuses(other)) == before


def test_the_chat_stays_readable_and_keeps_its_place(pair: tuple[Two, Person, Person]) -> None:
    two, actor, other = pair
    joined = two.do(actor, "join_chat", userId=str(other.id))
    assert [message["text"] for message in joined["messages"]] == ["hi", "ho"]
    assert two.do(actor, "get_messages", chatId=two.chat_id)["messages"] == joined["messages"]
    (gap,) = two.do(actor, "sync", cursors={})["chats"]
    assert gap["messages"] == joined["messages"]
    (chat,) = two.listed(actor)
    assert chat["lastMessage"] == joined["messages"][-1]


def test_a_retry_of_a_message_from_before_the_block_is_answered_as_before(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    first = two.send(two.bob, "before", clientId="mine")
    two.block(two.alice)
    assert two.send(two.bob, "before", clientId="mine") == first
    assert two.send(two.bob, "after", clientId="new") is ErrorCode.NOT_ALLOWED


def test_a_retry_during_a_block_delivers_nothing_that_was_delivered(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    two.send(two.bob, "before", clientId="mine")
    two.block(two.alice)
    two.confirm(two.alice, 3)
    two.send(two.bob, "before", clientId="mine")
    assert two.heard(two.alice, "new_message") == []
    assert [message["status"] for message in two.heard(two.bob, "message_sent")] == ["sent"]


def test_a_block_wins_over_its_end_in_the_same_batch(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    two.block(two.alice)
    named = {"userId": str(two.bob.id)}
    two.ask(*(two.event(two.alice, name, **named) for name in ("unblock_user", "block_user")))
    assert two.send(two.bob) is ErrorCode.NOT_ALLOWED


def test_only_who_blocks_learns_of_it(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    assert two.block(two.alice) == {
        "success": True,
        "chatId": two.chat_id,
        "userId": str(two.bob.id),
        "username": two.bob.name,
        "blocked": True,
    }
    (told,) = two.heard(two.alice, "chat_changed")
    assert (told["chatId"], told["blocked"]) == (two.chat_id, True)
    assert two.heard(two.bob, "chat_changed") == []
    assert two.listed(two.alice)[0]["blocked"] is True
    assert two.do(two.alice, "join_chat", userId=str(two.bob.id))["blocked"] is True
    assert "blocked" not in two.listed(two.bob)[0]
    assert "blocked" not in two.do(two.bob, "join_chat", userId=str(two.alice.id))


def test_a_block_takes_the_presence_of_both_away(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    assert two.peer(two.bob)["online"]
    assert two.peer(two.alice)["online"]
    two.block(two.alice)
    for person in (two.alice, two.bob):
        (status,) = two.heard(person, "user_status")
        assert (status["userId"], status["status"]) == (str(two.other(person).id), "offline")
        assert status["lastSeen"] is None


def test_a_block_that_is_made_twice_changes_nothing_and_tells_the_devices_again(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    first = two.block(two.alice)
    ((blocked_at, *_),) = blocks(two)
    assert two.block(two.alice) == first
    assert [told["blocked"] for told in two.heard(two.alice, "chat_changed")] == [True]
    assert two.heard(two.bob, *ANYTHING) == []
    assert [row[0] for row in blocks(two)] == [blocked_at]


def test_what_was_hidden_appears_when_the_block_ends(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    two.block(two.alice)
    two.confirm(two.alice, 2)
    two.do(two.alice, "mark_as_read", chatId=two.chat_id, upTo=2)
    two.block(two.alice, on=False)
    told = [(status["status"], status["upTo"]) for status in two.heard(two.bob, "message_status")]
    assert told == [("delivered", 2), ("read", 2)]
    assert [status["status"] for status in two.heard(two.bob, "user_status")] == ["online"]
    assert two.peer(two.bob)["readUpTo"] == 2
    assert two.statuses(two.bob)[1] == "read"
    assert two.send(two.bob)["seq"] == 3


def test_a_block_of_both_ends_when_both_have_ended_it(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    two.block(two.alice)
    two.block(two.bob)
    two.block(two.alice, on=False)
    assert two.send(two.alice) is ErrorCode.NOT_ALLOWED
    assert two.heard(two.bob, *ANYTHING) == []
    two.block(two.bob, on=False)
    assert two.send(two.alice)["seq"] == 3


def test_a_stranger_can_be_blocked_and_neither_gets_a_chat_in_their_list(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    assert two.block(two.alice)["blocked"]
    assert two.listed(two.alice) == two.listed(two.bob) == []
    assert two.send(two.bob) is ErrorCode.NOT_ALLOWED
    two.block(two.alice, on=False)
    assert two.listed(two.alice) == []
    assert two.send(two.bob)["seq"] == 1
    assert len(two.listed(two.alice)) == len(two.listed(two.bob)) == 1


def test_nobody_can_block_themselves(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    assert two.do(two.alice, "block_user", userId=str(two.alice.id)) is ErrorCode.NOT_ALLOWED
    assert two.do(two.alice, "block_user", userId=str(uuid.uuid4())) is ErrorCode.USER_NOT_FOUND
    assert two.do(two.alice, "block_user", username="nobody_at_all") is ErrorCode.USER_NOT_FOUND
    assert two.do(two.alice, "block_user") is ErrorCode.INVALID_PAYLOAD


def test_who_is_deleted_can_be_unblocked_by_their_id(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    two.block(two.alice)
    bench.rows("DELETE FROM profiles WHERE id = :bob", bob=two.bob.id)
    (blocked,) = two.do(two.alice, "list_blocked")["users"]
    assert blocked["userId"] == str(two.bob.id)
    assert two.block(two.alice, on=False)["blocked"] is False
    assert two.do(two.alice, "list_blocked")["users"] == []


def test_nobody_unblocks_who_never_was(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    nobody = {"userId": str(uuid.uuid4())}
    first, second = two.ask(
        two.event(two.alice, "unblock_user", **nobody),
        two.event(two.alice, "unblock_user", userId=str(two.bob.id)),
    )
    assert first == ErrorCode.USER_NOT_FOUND
    assert second["blocked"] is False


def test_the_blocked_are_listed_in_pages_the_last_one_first(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    others = [Person(*person) for person in bench.people(*(f"p{number}" for number in range(7)))]
    for other in others:
        two.do(two.alice, "block_user", username=other.name)
    two.do(two.alice, "unblock_user", userId=str(others[3].id))
    found: list[Any] = []
    cursor = None
    while cursor is not None or not found:
        asked = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = two.do(two.alice, "list_blocked", **asked)
        assert 1 <= len(page["users"]) <= 2
        found += page["users"]
        cursor = page["nextCursor"]
    expected = [other for other in reversed(others) if other is not others[3]]
    assert [one["username"] for one in found] == [other.name for other in expected]
    assert [one["userId"] for one in found] == [str(other.id) for other in expected]
    assert two.do(others[0], "list_blocked")["users"] == []


def test_a_page_of_the_blocked_is_no_larger_than_an_answer(make_bench: BenchFactory) -> None:
    two = Two.strangers(make_bench(page_max=300))
    others = two.bench.people(*(f"p{number}" for number in range(250)))
    two.ask(*(two.event(two.alice, "block_user", userId=str(user_id)) for user_id, _ in others))
    two.bench.rows(
        "UPDATE profiles SET data = :data WHERE id = ANY(:ids)",
        data=msgspec.json.encode({"x": "x" * 4_000}).decode(),
        ids=[user_id for user_id, _ in others],
    )
    first = two.do(two.alice, "list_blocked", limit=300)
    assert len(first["users"]) > 150
    assert len(msgspec.json.encode(first["users"])) <= ANSWER_BYTES + len(first["users"])
    second = two.do(two.alice, "list_blocked", limit=300, cursor=first["nextCursor"])
    assert second["nextCursor"] is None
    found = [one["userId"] for one in first["users"] + second["users"]]
    assert len(found) == len(others)
    assert set(found) == {str(user_id) for user_id, _ in others}


@pytest.mark.parametrize("cursor", ["", "x", "bm8=", "WzEsMl0=", "WzEsIngiXQ==", "ÿ", "\0"])
def test_a_cursor_that_nobody_gave_out_is_refused(bench: WorkerBench, cursor: str) -> None:
    two = Two.strangers(bench)
    assert two.do(two.alice, "list_blocked", cursor=cursor) is ErrorCode.INVALID_PAYLOAD


def test_a_batch_handles_the_blocks_before_the_messages(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    block = two.event(two.alice, "block_user", userId=str(two.bob.id))
    results = two.ask(two.sending(two.bob), block, two.sending(two.alice))
    assert results[0] is results[2] is ErrorCode.NOT_ALLOWED
    assert two.bench.seqs(two.chat_id) == [1, 2]


@pytest.mark.parametrize("names", [("block_user", "unblock_user"), ("unblock_user", "block_user")])
def test_the_last_of_a_block_and_its_end_wins_in_one_batch(
    bench: WorkerBench, names: tuple[str, str]
) -> None:
    two = Two.friends(bench)
    acks = two.ask(*(two.event(two.alice, name, userId=str(two.bob.id)) for name in names))
    is_blocked = names[-1] == "block_user"
    assert acks[-1]["blocked"] is is_blocked
    assert two.heard(two.alice, "chat_changed")[-1]["blocked"] is is_blocked
    assert two.listed(two.alice)[0].get("blocked", False) is is_blocked


def test_a_blocked_message_leaves_no_hole_and_stops_no_other(bench: WorkerBench) -> None:
    """One batch with a blocked chat, an open one, and messages of both directions."""
    two, open_ones = Two.friends(bench), Two.friends(bench)
    two.block(two.alice)
    events = [
        two.sending(two.bob),
        open_ones.sending(open_ones.alice, "first"),
        two.sending(two.alice),
        open_ones.sending(open_ones.bob, "second"),
    ]
    results = two.ask(*events)
    assert results[0] is results[2] is ErrorCode.NOT_ALLOWED
    assert [results[1]["message"]["seq"], results[3]["message"]["seq"]] == [3, 4]
    assert bench.seqs(open_ones.chat_id) == [1, 2, 3, 4]


def test_no_message_is_stored_that_commits_after_a_block(make_bench: BenchFactory) -> None:
    """Many blocks and many messages at once: what a block that was acked finds is all there will ever be."""
    benches = [make_bench() for _ in range(3)]
    rounds, sends = 25, 6
    two = Two.friends(benches[0])
    together = threading.Barrier(len(benches))
    broken: list[str] = []

    def write(bench: WorkerBench) -> None:
        own = Two(bench, two.alice, two.bob)
        for _ in range(rounds):
            together.wait()
            for _ in range(sends):
                own.ask(*(own.sending(own.bob), own.sending(own.alice), own.sending(own.bob)))
            together.wait()

    def block(bench: WorkerBench) -> None:
        own = Two(bench, two.alice, two.bob)
        chat_id = own.chat_id
        for number in range(rounds):
            together.wait()
            blocker = own.alice if number % 2 else own.bob
            if own.block(blocker) is ErrorCode.UNAVAILABLE:
                broken.append("a block failed")
            stored = len(bench.seqs(chat_id))
            together.wait()
            if len(bench.seqs(chat_id)) != stored:
                broken.append(f"round {number}: {len(bench.seqs(chat_id)) - stored} came after the block")
            own.block(blocker, on=False)

    threads = [threading.Thread(target=write, args=(bench,)) for bench in benches[1:]]
    for thread in threads:
        thread.start()
    block(benches[0])
    for thread in threads:
        thread.join()
    assert broken == []
    seqs = benches[0].seqs(two.chat_id)
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) > 2


def blocks(two: Two) -> list[Any]:
    """Return when either has blocked the other."""
    rows = two.bench.rows("SELECT lo_blocked_at, hi_blocked_at FROM chats WHERE id = :chat", chat=two.chat_id)
    return [tuple(at for at in row if at is not None) for row in rows]
