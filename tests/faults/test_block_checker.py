"""The checker notices every broken promise about blocks, and the clients record them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checker import check
from tests.faults.clients import FaultClient
from tests.faults.false_server import FalseServer
from tests.faults.records import Block, Change, Delivered, Records, Sent, State, Stored
from tests.faults.test_change_checker import CUT, GOOD, LIKE
from tests.faults.wanted import Try


def one_try(sent_at: float, code: str = "ok") -> list[Try]:
    """Return a try that was answered, or cut, half a second later."""
    return [Try(1, sent_at, sent_at + 0.5, code)]


def run_with_a_block() -> Records:
    """Return the records of a run in which bob blocked alice from 10 s to 20 s, and she tried to write."""
    records = Records(healed_at=10.0, ended_at=100.0)
    records.blocks = [
        Block("bob", "alice", tries=one_try(10.0)),
        Block("bob", "alice", on=False, tries=one_try(20.0)),
    ]
    records.listed = {"alice": set(), "bob": set()}
    send(records, 1.0, "ok")
    send(records, 12.0, "not_allowed")
    records.changes = [Change("alice", "chat", 1, "edit", "new", tries=one_try(13.0, "not_allowed"))]
    return records


def send(records: Records, at: float, code: str, sender: str = "alice", recipient: str = "bob") -> Sent:
    """Have one write to the other, who gets it if it is acked."""
    sent = Sent(sender, recipient, f"text at {at}", one_try(at, code))
    records.sent.append(sent)
    if code == "ok":
        sent.message_id = f"id at {at}"
        deliver(records, sent)
    return sent


def deliver(records: Records, sent: Sent) -> None:
    """Have a message be in the store, and with its recipient."""
    seq, message_id = len(records.stored) + 1, sent.message_id or "id of what was refused"
    at = sent.tries[-1].sent_at + 0.6
    records.stored.append(Stored(message_id, "chat", seq, sent.sender, sent.recipient, sent.text))
    records.delivered.append(Delivered(sent.recipient, 1, message_id, at, sent.text))
    records.last_seqs["chat"] = seq
    records.watermarks["chat", sent.recipient] = (seq, 0)


def still_blocked() -> Records:
    """Return the records of a run in which bob did not take the block back."""
    records = run_with_a_block()
    records.blocks.pop()
    records.blocked = {("bob", "alice")}
    records.listed["bob"] = {"alice"}
    return records


@pytest.mark.parametrize("records", [run_with_a_block(), still_blocked()], ids=["taken back", "still there"])
def test_a_good_run_is_good(records: Records) -> None:
    assert check(records) == GOOD


def test_a_lost_block_is_noticed() -> None:
    records = still_blocked()
    records.blocked, records.listed["bob"] = set(), set()
    assert check(records) == replace(GOOD, blocks_lost=1)


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_block_that_nobody_wants_is_noticed(who: str) -> None:
    records = run_with_a_block()
    peer = {"alice": "bob", "bob": "alice"}[who]
    records.blocked, records.listed[who] = {(who, peer)}, {peer}
    assert check(records) == replace(GOOD, blocks_lost=1)


@pytest.mark.parametrize("on", [True, False])
def test_a_block_without_an_answer_may_be_there_or_not(on: bool) -> None:
    records = still_blocked() if not on else run_with_a_block()
    records.blocks.append(Block("bob", "alice", on, [CUT]))
    assert check(records) == GOOD
    records.blocked = {("bob", "alice")} - records.blocked
    records.listed["bob"] = {"alice"} - records.listed["bob"]
    assert check(records) == GOOD
    records.blocks[-1].tries.clear()
    assert check(records) == replace(GOOD, blocks_lost=1)


@pytest.mark.parametrize("known", [set(), {"alice", "carol"}, None])
def test_a_client_that_is_told_of_other_blocks_is_noticed(known: set[str] | None) -> None:
    records = still_blocked()
    if known is None:
        del records.listed["bob"]
    else:
        records.listed["bob"] = known
    assert check(records) == replace(GOOD, stale=1)


def test_a_user_who_is_told_of_the_block_of_the_other_is_noticed() -> None:
    records = still_blocked()
    records.listed["alice"] = {"bob"}
    assert check(records) == replace(GOOD, stale=1)


@pytest.mark.parametrize(("sender", "recipient"), [("alice", "bob"), ("bob", "alice")])
def test_a_message_that_is_acked_during_a_block_is_noticed(sender: str, recipient: str) -> None:
    records = run_with_a_block()
    send(records, 15.0, "ok", sender, recipient)
    assert check(records) == replace(GOOD, slipped=1)


def test_a_message_that_was_refused_and_is_stored_is_noticed() -> None:
    records = run_with_a_block()
    deliver(records, records.sent[1])
    assert check(records) == replace(GOOD, slipped=1)


def test_a_message_that_was_refused_and_is_only_delivered_is_noticed() -> None:
    records = run_with_a_block()
    records.delivered.append(Delivered("bob", 1, "id of nothing", 12.6, records.sent[1].text))
    assert check(records) == replace(GOOD, slipped=1)


def test_a_message_without_an_answer_is_not_stored_while_a_block_lasts() -> None:
    records = still_blocked()
    deliver(records, send(records, 15.0, "cut"))
    assert check(records) == replace(GOOD, slipped=1)
    records.blocks.append(Block("bob", "alice", on=False, tries=one_try(20.0)))
    records.blocked, records.listed["bob"] = set(), set()
    assert check(records) == GOOD, "it may have come after the end of the block"


def test_a_retry_of_a_message_that_is_older_than_the_block_may_be_acked() -> None:
    records = run_with_a_block()
    records.sent[0].tries = [*one_try(1.0, "cut"), *one_try(15.0)]
    assert check(records) == GOOD


@pytest.mark.parametrize("at", [9.8, 20.2])
def test_a_message_on_the_edge_of_a_block_may_pass_or_not(at: float) -> None:
    records = run_with_a_block()
    send(records, at, "not_allowed")
    assert check(records) == GOOD
    records = run_with_a_block()
    send(records, at, "ok")
    assert check(records) == GOOD


@pytest.mark.parametrize(("at", "code"), [(5.0, "not_allowed"), (25.0, "not_allowed"), (15.0, "internal")])
def test_a_refusal_that_no_block_explains_is_noticed(at: float, code: str) -> None:
    records = run_with_a_block()
    send(records, at, code)
    assert check(records) == replace(GOOD, refused=1)
    records.sent.pop()
    records.changes.append(Change("bob", "chat", 1, "react", LIKE, tries=one_try(at, code)))
    assert check(records) == replace(GOOD, refused=1)


def test_an_unsending_that_is_refused_is_noticed() -> None:
    records = run_with_a_block()
    records.changes.append(Change("alice", "chat", 1, "unsend", tries=one_try(15.0, "not_allowed")))
    assert check(records) == replace(GOOD, refused=1)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (Change("alice", "chat", 1, "edit", "new"), State("new")),
        (Change("bob", "chat", 1, "react", LIKE), State("text at 1.0", reactions=frozenset({(LIKE, "bob")}))),
    ],
)
@pytest.mark.parametrize("code", ["ok", "not_allowed"])
def test_a_change_that_slips_past_a_block_is_noticed(change: Change, state: State, code: str) -> None:
    records = run_with_a_block()
    records.changes = [replace(change, tries=one_try(15.0, code))]
    records.stored[0] = replace(records.stored[0], change=1, state=state)
    records.last_changes["chat"] = 1
    counts = check(records)
    assert (counts.changes_lost, counts.slipped) == (1, int(code == "ok"))
    records.changes[0].tries = one_try(9.8)
    assert check(records) == GOOD


class Deaf(FalseServer):
    """A server that acks every block, message and list, and blocks nobody."""

    def answer(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return what every request gets."""
        message = {"id": "id", "chatId": "chat", "seq": 1, "text": "hi", "senderId": "", "recipientId": ""}
        return {"message": message, "chats": [{"peer": {"userId": "alice"}}]}


@pytest.fixture
async def deaf() -> AsyncIterator[tuple[str, Deaf]]:
    server = Deaf()
    async with server.served() as url:
        yield url, server


async def test_what_clients_record_of_a_deaf_server_is_noticed(deaf: tuple[str, Deaf]) -> None:
    url, server = deaf
    records = Records()
    alice, bob = (FaultClient(name, [url], str, records) for name in ("alice", "bob"))
    await asyncio.gather(alice.start(), bob.start())
    await bob.block(alice, on=True)
    assert server.asked == 2 * [("block_user", {"username": "alice"})]
    await alice.send(bob, "hi")
    records.listed[bob.user_id] = await bob.list_blocked()
    counts = check(records)
    assert (counts.blocks_lost, counts.slipped, counts.stale) == (1, 1, 0)
    await asyncio.gather(alice.stop(), bob.stop())
