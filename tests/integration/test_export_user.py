"""The app's own backend reads what the chat holds of a user, in pages."""

import uuid
from typing import Any

import pytest

from infra.wire.batch import Event
from infra.wire.errors import ErrorCode
from infra.wire.server_api import NOBODY
from tests.harness.two import Two
from tests.harness.worker_bench import WorkerBench


@pytest.fixture
def two(make_bench: Any) -> Two:
    """Two friends, and pages of three messages."""
    return Two.friends(make_bench(page=3, page_max=3))


def asking(bench: WorkerBench, user_id: uuid.UUID, **payload: Any) -> Event:
    return bench.event(uuid.UUID(NOBODY), "export_user", {"userId": str(user_id), **payload})


def pages(bench: WorkerBench, user_id: uuid.UUID) -> list[list[Any]]:
    found: list[list[Any]] = []
    payload: dict[str, Any] = {}
    while True:
        event = asking(bench, user_id, **payload)
        ack = bench.ask(event).ack(event)
        found.append(ack["lines"])
        if ack["nextCursor"] is None:
            return found
        payload = {"cursor": ack["nextCursor"]}
        assert len(found) < 100


def lines(bench: WorkerBench, user_id: uuid.UUID, kind: str) -> list[Any]:
    return [line for page in pages(bench, user_id) for line in page if line["type"] == kind]


@pytest.mark.parametrize("page", [1, 2])
def test_it_is_whole_in_the_smallest_pages(make_bench: Any, page: int) -> None:
    two = Two.friends(make_bench(page=page, page_max=page))
    for peer, _ in two.bench.people(*(f"peer{number}" for number in range(3))):
        two.do(two.alice, "send_message", userId=str(peer), text="hello")
    assert len(lines(two.bench, two.alice.id, "message")) == 5


def test_it_has_all_messages_of_all_chats_once_and_little_in_a_page(two: Two) -> None:
    for number in range(7):
        two.send(two.alice, f"{number}")
    peers = two.bench.people(*(f"peer{number}" for number in range(8)))
    for number, (peer, _) in enumerate(peers):
        two.do(two.alice, "send_message", userId=str(peer), text=f"to {number}")
    gone = two.bench.rows("SELECT id FROM chats WHERE user_lo = :p OR user_hi = :p", p=peers[3][0])
    two.bench.rows("DELETE FROM messages WHERE chat_id = :chat", chat=gone[0].id)
    two.do(two.alice, "react", chatId=two.chat_id, seq=2, emoji="👍", on=True)
    found = pages(two.bench, two.alice.id)
    texts = [line["text"] for page in found for line in page if line["type"] == "message"]
    expected = ["hi", "ho", *map(str, range(7)), *(f"to {number}" for number in range(8) if number != 3)]
    assert sorted(texts) == sorted(expected)
    assert max(sum(line["type"] == "message" for line in page) for page in found) == 3
    every = [line for page in found for line in page]
    assert [line["type"] for line in every[:2]] == ["profile", "settings"]
    assert len([line for line in every if line["type"] == "chat"]) == 9
    assert [line["emoji"] for line in every if line["type"] == "reaction"] == ["👍"]


def test_it_has_blocks_reports_and_devices_and_nothing_of_the_peers(two: Two) -> None:
    two.do(two.alice, "register_device", channel="email", address="alice@example.com")
    two.do(two.alice, "report", chatId=two.chat_id, seq=2, reason="spam", note="mine")
    two.do(two.bob, "report", chatId=two.chat_id, seq=1, reason="spam", note="bobs")
    two.block(two.alice)
    assert [line["address"] for line in lines(two.bench, two.alice.id, "device")] == ["alice@example.com"]
    assert [line["note"] for line in lines(two.bench, two.alice.id, "report")] == ["mine"]
    assert [line["userId"] for line in lines(two.bench, two.alice.id, "block")] == [str(two.bob.id)]
    assert lines(two.bench, two.bob.id, "block") == []


def test_it_says_which_messages_are_in_the_archive(two: Two) -> None:
    two.bench.rows(
        "INSERT INTO archived_chats (chat_id, seqs) VALUES (:chat, '{[1,3),[5,6)}')", chat=two.chat_id
    )
    (line,) = lines(two.bench, two.alice.id, "archived")
    assert line == {"type": "archived", "chatId": two.chat_id, "spans": [[1, 2], [5, 5]]}


@pytest.mark.parametrize(
    "cursor",
    ["x", "messages x", f"messages {uuid.UUID(int=0)}", f"messages {uuid.UUID(int=0)} {2**63}", "chats x"],
)
def test_a_cursor_that_is_none_is_refused(two: Two, cursor: str) -> None:
    event = asking(two.bench, two.alice.id, cursor=cursor)
    assert two.bench.ask(event).failure(event).code == ErrorCode.INVALID_PAYLOAD


def test_nobody_of_whom_nothing_is_known_is_exported(two: Two) -> None:
    event = asking(two.bench, uuid.uuid4())
    assert two.bench.ask(event).failure(event).code == ErrorCode.USER_NOT_FOUND
