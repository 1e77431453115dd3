"""The checker notices every broken promise about changes, and the clients record them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import Any

import pytest

from tests.faults.checker import Counts, check
from tests.faults.clients import FaultClient
from tests.faults.false_server import FalseServer
from tests.faults.local_copy import LocalCopy
from tests.faults.records import Change, Delivered, Records, Seen, Sent, State, Stored
from tests.faults.wanted import Try
from tests.harness.waiting import until

GOOD = Counts(*(0 for _ in fields(Counts)))
LIKE = "\U0001f44d"
OK = Try(1, 10.0, 10.5, "ok")
CUT = Try(1, 10.0, 10.5, "cut")
GONE = State("", is_unsent=True)


def run_with_changes() -> Records:
    """Return the records of a run in which one message was edited, one got a reaction, and one was unsent."""
    records = Records(ended_at=100.0, last_seqs={"chat": 3}, last_changes={"chat": 3})
    records.watermarks = {("chat", "bob"): (3, 0)}
    for seq in (1, 2, 3):
        attempt = Try(connection=1, sent_at=seq, ended_at=seq + 0.5, code="ok")
        records.sent.append(Sent("alice", "bob", f"text {seq}", [attempt], f"id {seq}"))
        records.delivered.append(Delivered("bob", 1, f"id {seq}", seq + 0.6))
    records.changes = [
        Change("alice", "chat", 1, "edit", "new", tries=[OK]),
        Change("bob", "chat", 2, "react", LIKE, tries=[OK]),
        Change("alice", "chat", 3, "unsend", tries=[OK]),
    ]
    store(records, 1, 1, State("new"))
    store(records, 2, 2, State("text 2", reactions=frozenset({(LIKE, "bob")})))
    store(records, 3, 3, GONE)
    return records


def store(records: Records, seq: int, change: int, state: State | None) -> None:
    """Have a message be like this, in the store and in what both users know."""
    rows = [row for row in records.stored if row.seq != seq]
    row = Stored(f"id {seq}", "chat", seq, "alice", "bob", f"text {seq}", change, state)
    records.stored = [*rows, row]
    for user_id in ("alice", "bob"):
        known = change, state or State(f"text {seq}")
        records.copies[user_id, "chat", seq] = records.synced[user_id, "chat", seq] = known


def test_a_good_run_is_good() -> None:
    assert check(run_with_changes()) == GOOD


@pytest.mark.parametrize(
    ("seq", "state"),
    [
        (1, State("text 1")),
        (1, State("something else")),
        (1, State("new", reactions=frozenset({(LIKE, "bob")}))),
        (1, GONE),
        (2, State("text 2")),
        (2, State("text 2", reactions=frozenset({(LIKE, "alice")}))),
        (2, State("text 2", reactions=frozenset({(LIKE, "bob"), ("\U0001f602", "bob")}))),
        (3, State("text 3")),
        (3, State("text 3", is_unsent=True)),
        (3, State("", is_unsent=True, reactions=frozenset({(LIKE, "bob")}))),
    ],
)
def test_a_message_that_is_not_what_was_acked_is_noticed(seq: int, state: State) -> None:
    records = run_with_changes()
    store(records, seq, seq, state)
    assert check(records) == replace(GOOD, changes_lost=1)


def test_an_acked_change_that_left_no_trace_is_noticed() -> None:
    records = run_with_changes()
    store(records, 3, 0, None)
    records.last_changes["chat"] = 2
    assert check(records) == replace(GOOD, changes_lost=1, misnumbered=1)


def test_an_edit_that_comes_back_after_a_later_one_is_noticed() -> None:
    records = run_with_changes()
    records.changes.append(Change("alice", "chat", 1, "edit", "newer", tries=[CUT, OK]))
    records.last_changes["chat"] = 4
    store(records, 1, 4, State("newer"))
    assert check(records) == GOOD
    store(records, 1, 4, State("new"))
    assert check(records) == replace(GOOD, changes_lost=1)


def test_a_reaction_that_was_taken_back_and_is_still_there_is_noticed() -> None:
    records = run_with_changes()
    records.changes.append(Change("bob", "chat", 2, "react", LIKE, on=False, tries=[OK]))
    records.last_changes["chat"] = 4
    store(records, 2, 4, State("text 2", reactions=frozenset({(LIKE, "bob")})))
    assert check(records) == replace(GOOD, changes_lost=1)
    store(records, 2, 4, State("text 2"))
    assert check(records) == GOOD


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (Change("alice", "chat", 1, "edit", "newer"), State("newer")),
        (Change("bob", "chat", 1, "react", LIKE), State("new", reactions=frozenset({(LIKE, "bob")}))),
        (Change("alice", "chat", 1, "unsend"), GONE),
    ],
)
def test_a_change_without_an_answer_may_have_been_made_or_not(change: Change, state: State) -> None:
    records = run_with_changes()
    records.changes.append(replace(change, tries=[CUT]))
    assert check(records) == GOOD
    store(records, 1, 4, state)
    records.last_changes["chat"] = 4
    assert check(records) == GOOD
    records.changes[-1].tries.clear()
    assert check(records) == replace(GOOD, changes_lost=1, misnumbered=1)


def test_a_change_that_was_made_twice_is_noticed() -> None:
    records = run_with_changes()
    records.last_changes["chat"] = 4
    store(records, 1, 4, State("new"))
    assert check(records) == replace(GOOD, misnumbered=1)


def test_reactions_that_are_handled_together_may_be_one_change() -> None:
    records = run_with_changes()
    later = Change("alice", "chat", 2, "react", LIKE, tries=[Try(1, 10.4, 10.8, "ok")])
    records.changes.append(later)
    store(records, 2, 2, State("text 2", reactions=frozenset({(LIKE, "alice"), (LIKE, "bob")})))
    assert check(records) == GOOD
    later.tries = [Try(1, 10.6, 10.8, "ok")]
    assert check(records) == replace(GOOD, misnumbered=1)


def test_a_number_that_two_messages_have_is_noticed() -> None:
    records = run_with_changes()
    store(records, 1, 3, State("new"))
    assert check(records) == replace(GOOD, misnumbered=1)


def test_a_last_change_that_no_message_has_is_noticed() -> None:
    records = run_with_changes()
    records.changes.append(Change("bob", "chat", 1, "react", LIKE, tries=[CUT]))
    records.last_changes["chat"] = 4
    assert check(records) == replace(GOOD, misnumbered=1)


@pytest.mark.parametrize(
    "seen",
    [
        Seen("chat", 1, 1, State("something else")),
        Seen("chat", 2, 1, State("new")),
        Seen("chat", 1, 4, State("new")),
    ],
)
def test_a_client_that_was_told_something_else_of_a_change_is_noticed(seen: Seen) -> None:
    records = run_with_changes()
    records.seen.append(Seen("chat", 1, 1, State("new")))
    assert check(records) == GOOD
    records.seen.append(seen)
    assert check(records) == replace(GOOD, misnumbered=1)


@pytest.mark.parametrize("kind", ["copies", "synced"])
@pytest.mark.parametrize("known", [(0, State("text 1")), (1, State("text 1")), (2, State("new")), None])
def test_a_client_that_knows_a_message_otherwise_than_the_store_is_noticed(
    known: tuple[int, State] | None, kind: str
) -> None:
    records = run_with_changes()
    copies = getattr(records, kind)
    if known is None:
        del copies["bob", "chat", 1]
    else:
        copies["bob", "chat", 1] = known
    assert check(records) == replace(GOOD, stale=1)


@pytest.mark.parametrize("kind", ["edit", "unsend", "react"])
def test_a_change_that_is_refused_is_noticed(kind: Any) -> None:
    records = run_with_changes()
    refusal = Try(1, 11.0, 11.5, "not_allowed")
    records.changes.append(Change("alice", "chat", 1, kind, "x", tries=[refusal]))
    assert check(records) == replace(GOOD, refused=1)


def test_a_reaction_to_a_message_that_is_unsent_is_refused() -> None:
    records = run_with_changes()
    late = Change("bob", "chat", 3, "react", LIKE, tries=[Try(1, 11.0, 11.5, "not_allowed")])
    records.changes.append(late)
    assert check(records) == GOOD
    late.tries = [Try(1, 11.0, 11.5, "internal")]
    assert check(records) == replace(GOOD, refused=1)


def test_a_change_without_an_answer_in_time_is_noticed() -> None:
    records = run_with_changes()
    records.changes.append(Change("alice", "chat", 1, "edit", "newer", tries=[Try(1, 50.0)]))
    assert check(records) == replace(GOOD, unanswered=1)


def message(seq: int, text: str, **more: Any) -> dict[str, Any]:
    return {"chatId": "chat", "seq": seq, "senderId": "alice", "recipientId": "bob", "text": text, **more}


def test_a_copy_keeps_the_newest_state() -> None:
    records = Records()
    copy = LocalCopy("bob", records)
    reactions = [{"emoji": LIKE, "userIds": ["alice", "bob"]}]
    for one in (
        message(1, "old"),
        message(1, "newest", change=3, reactions=reactions),
        message(1, "newer", change=2),
        message(1, "old"),
    ):
        copy.take(one)
    known = copy.messages["chat", 1]
    assert (known.change, known.state.text) == (3, "newest")
    assert known.state.reactions == {(LIKE, "alice"), (LIKE, "bob")}
    assert [seen.change for seen in records.seen] == [3, 2]


def test_a_copy_moves_its_cursor_as_far_as_it_was_answered() -> None:
    copy = LocalCopy("bob", Records())
    chat = {"chatId": "chat", "messages": [message(1, "a"), message(2, "b")], "hasMore": True, "change": 4}
    assert copy.take_gaps([chat])
    assert copy.cursors() == {"chat": {"seq": 2, "change": 4}}
    changes = [message(1, "", change=6, deletedAt="now")]
    chat = {"chatId": "chat", "messages": [], "hasMore": False, "change": 6, "changes": changes}
    assert copy.take_gaps([{**chat, "hasMoreChanges": True}])
    assert not copy.take_gaps([{**chat, "hasMoreChanges": False}])
    assert copy.cursors() == {"chat": {"seq": 2, "change": 6}}
    assert copy.between("alice") == [("chat", 2)]
    copy.take(message(3, "emitted", change=7))
    assert copy.cursors() == {"chat": {"seq": 2, "change": 6}}


class Forgetful(FalseServer):
    """A server that acks every change, stores none, and tells nobody."""

    def answer(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return what every change gets."""
        return {"message": message(payload["seq"], "text 1")}


@pytest.fixture
async def forgetful() -> AsyncIterator[tuple[str, Forgetful]]:
    server = Forgetful()
    async with server.served() as url:
        yield url, server


async def test_what_clients_record_of_a_forgetful_server_is_noticed(
    forgetful: tuple[str, Forgetful],
) -> None:
    url, server = forgetful
    records = Records()
    alice, bob = (FaultClient(name, [url], str, records) for name in ("alice", "bob"))
    await asyncio.gather(alice.start(), bob.start())
    own = {"senderId": alice.user_id, "recipientId": bob.user_id}
    alice.copy.take({**message(1, "text 1"), **own})
    await alice.change(bob)
    assert len(server.asked) == 2
    (first, again) = server.asked
    assert first == again
    records.stored = [Stored("id 1", "chat", 1, alice.user_id, bob.user_id, "text 1")]
    records.last_seqs = {"chat": 1}
    counts = check(records)
    assert (counts.changes_lost, counts.misnumbered) == (1, 1)
    await server.sio.emit("message_changed", {**message(1, "edited", change=1), **own})
    await until(lambda: bob.copy.messages, "bob is told")
    assert records.seen[-1] == Seen("chat", 1, 1, State("edited"))
    await asyncio.gather(alice.stop(), bob.stop())
