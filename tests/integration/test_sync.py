"""A client stays in step with any number of chats, by requests and answers of a bounded size."""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from infra.wire.commands import SendMessage
from infra.wire.registry import COMMANDS
from tests.harness.buffers import ALL, cost
from tests.harness.many_chats import ManyChats, add_chats
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory
from workers.handlers import list_chats
from workers.handlers.send_message import send_messages
from workers.requests import Request

FRAME_BYTES = 1_000_000
"""The frame that every client takes."""
EVENT_BYTES = 65_536

_MESSAGES = """
    INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
    SELECT :chat, seq, gen_random_uuid(), :peer, :user, :text, now()
    FROM generate_series(2, CAST(:last AS int)) AS seq
"""


def many(bench: WorkerBench, count: int) -> ManyChats:
    user, username = bench.person("popular")
    return add_chats(bench, user, username, count)


def fill(bench: WorkerBench, of: ManyChats, place: int, last: int, words: str) -> None:
    chat = of.chats[place]
    bench.rows(_MESSAGES, chat=chat.id, peer=chat.peer, user=of.user, last=last, text=words)
    bench.rows("UPDATE chats SET last_seq = :last WHERE id = :chat", chat=chat.id, last=last)


def call(bench: WorkerBench, user: uuid.UUID, name: str, payload: dict[str, Any]) -> Any:
    asked = bench.event(user, name, payload)
    return bench.ask(asked).ack(asked)


def size(ack: Any) -> int:
    return len(json.dumps(ack, separators=(",", ":"), ensure_ascii=False).encode())


def seqs(gap: Any) -> list[int]:
    return [message["seq"] for message in gap["messages"]]


@dataclass
class Device:
    """A client that stays in step as docs/events.md says."""

    bench: WorkerBench
    user: uuid.UUID
    cursors: dict[str, int] = field(default_factory=dict)
    since: str | None = None
    requests: list[int] = field(default_factory=list)
    """The size of each request."""

    def ask(self, name: str, payload: dict[str, Any]) -> Any:
        self.requests.append(size([name, payload]))
        return call(self.bench, self.user, name, payload)

    def catch_up(self, between_pages: Callable[[], object] = lambda: None) -> int:
        """Fetch what is new; return the number of new messages."""
        behind: dict[str, int] = {}
        cursor: str | None = None
        marks: list[str] = []
        while cursor is not None or not marks:
            page = self.ask("list_chats", {"since": self.since, "cursor": cursor, "limit": 100})
            marks.append(page["since"])
            for chat in page["chats"]:
                if chat["lastSeq"] > self.cursors.get(chat["chatId"], 0):
                    behind[chat["chatId"]] = chat["lastSeq"]
            cursor = page["nextCursor"]
            between_pages()
        chat_ids = list(behind)
        fetched = sum(self.fetch(chat_ids[at : at + 500]) for at in range(0, len(chat_ids), 500))
        self.cursors |= behind
        self.since = marks[0]
        return fetched

    def fetch(self, chat_ids: Sequence[str]) -> int:
        fetched, more = 0, list(chat_ids)
        while more:
            cursors = {chat_id: self.cursors.get(chat_id, 0) for chat_id in more}
            ack = self.ask("sync", {"only": True, "cursors": cursors})
            for gap in ack["chats"]:
                fetched += len(gap["messages"])
                self.cursors[gap["chatId"]] = max([cursors[gap["chatId"]], *seqs(gap)])
            more = [gap["chatId"] for gap in ack["chats"] if gap["hasMore"]]
        return fetched


def test_a_client_with_thousands_of_chats_stays_in_step_by_requests_that_follow_what_has_changed(
    bench: WorkerBench,
) -> None:
    popular = many(bench, 3_000)
    device = Device(bench, popular.user)
    assert device.catch_up() == 3_000
    assert device.cursors == dict.fromkeys(popular.ids, 1)
    assert max(device.requests) < EVENT_BYTES
    device.requests.clear()
    assert device.catch_up() == 0
    assert len(device.requests) == 1
    changed = popular.chats[::300]
    bench.ask(*(bench.send(chat.peer, popular.username, "news") for chat in changed))
    device.requests.clear()
    assert device.catch_up() == len(changed)
    assert len(device.requests) == 2
    assert sum(device.requests) < 1_000
    assert device.cursors == dict.fromkeys(popular.ids, 1) | {str(chat.id): 2 for chat in changed}


def test_sync_answers_only_for_the_chats_that_are_asked_about(bench: WorkerBench) -> None:
    popular = many(bench, 4)
    first, second, *_ = popular.ids
    ack = call(bench, popular.user, "sync", {"cursors": {first: 0, second: 1}, "only": True})
    assert [(gap["chatId"], seqs(gap)) for gap in ack["chats"]] == [(first, [1])]
    assert call(bench, popular.user, "sync", {"cursors": {}, "only": True})["chats"] == []
    for everything in ({}, {"only": False}):
        ack = call(bench, popular.user, "sync", {"cursors": {first: 1, second: 1}, **everything})
        assert {gap["chatId"] for gap in ack["chats"]} == set(popular.ids[2:])


def test_requests_of_both_kinds_in_a_batch_get_their_own_chats(bench: WorkerBench) -> None:
    one, other = many(bench, 3), many(bench, 2)
    asked = [
        bench.event(one.user, "sync", {"cursors": {one.ids[0]: 0, other.ids[0]: 0}, "only": True}),
        bench.event(one.user, "sync", {"cursors": {one.ids[0]: 1}}),
        bench.event(other.user, "sync", {"cursors": {one.ids[1]: 0}}),
    ]
    reply = bench.ask(*asked)
    assert [{gap["chatId"] for gap in reply.ack(event)["chats"]} for event in asked] == [
        {one.ids[0]},
        {*one.ids[1:]},
        {*other.ids},
    ]
    assert [reply.ack(event).get("gone") for event in asked] == [[other.ids[0]], None, [one.ids[1]]]


def test_the_cost_of_a_sync_follows_the_chats_in_the_request(bench: WorkerBench) -> None:
    small, large = 500, 12_000
    costs = {}
    for count in (small, large):
        popular = many(bench, count)
        bench.rows("ANALYZE chats, chat_members, messages, profiles")
        few = {"cursors": dict.fromkeys(popular.ids[:10], 0), "only": True}
        costs[count] = cost(bench, ALL, partial(call, bench, popular.user, "sync", few))
    # Small tables may be read as a whole, which costs less than to look up each row.
    assert costs[large] < 4 * costs[small], costs


def everything(bench: WorkerBench, user: uuid.UUID) -> dict[str, list[int]]:
    """Ask for everything, as clients do that know no `only`, until nothing more is said to be there."""
    got: dict[str, list[int]] = {}
    more = True
    while more:
        cursors = {chat_id: numbers[-1] for chat_id, numbers in got.items()}
        ack = call(bench, user, "sync", {"cursors": cursors})
        assert size(ack) < FRAME_BYTES
        for gap in ack["chats"]:
            if gap["messages"]:
                got.setdefault(gap["chatId"], []).extend(seqs(gap))
        more = any(gap["hasMore"] for gap in ack["chats"])
    return got


def test_an_answer_about_many_chats_is_bounded_and_says_that_there_are_more(bench: WorkerBench) -> None:
    popular = many(bench, 2_600)
    first = call(bench, popular.user, "sync", {"cursors": {}})
    assert len(first["chats"]) == 1_001
    assert size(first) < FRAME_BYTES / 2
    assert everything(bench, popular.user) == {chat_id: [1] for chat_id in popular.ids}


@pytest.mark.parametrize("char", ["\U0001f600", "\x01"], ids=["four bytes", "escaped"])
def test_an_answer_with_long_messages_fits_into_a_frame(bench: WorkerBench, char: str) -> None:
    popular = many(bench, 3)
    for place in range(3):
        fill(bench, popular, place, 100, "x" + char * 3_999)
    assert everything(bench, popular.user) == {chat_id: [*range(1, 101)] for chat_id in popular.ids}


@pytest.mark.parametrize("char", ["\U0001f600", "\x01"], ids=["four bytes", "escaped"])
@pytest.mark.parametrize("edge", ["before", "after"])
def test_a_page_of_long_messages_fits_into_a_frame(bench: WorkerBench, edge: str, char: str) -> None:
    popular = many(bench, 1)
    fill(bench, popular, 0, 100, "x" + char * 3_999)
    asked: dict[str, Any] = {"chatId": popular.ids[0], "limit": 100}
    found: list[int] = []
    position = {"before": 101, "after": 0}[edge]
    for _ in range(100):
        page = call(bench, popular.user, "get_messages", {**asked, edge: position})
        assert size(page) < FRAME_BYTES
        assert seqs(page) == sorted(seqs(page))
        found += seqs(page)
        if not page["hasMore"]:
            break
        position = seqs(page)[0 if edge == "before" else -1]
    assert len(seqs(page)) < 100
    assert sorted(found) == [*range(1, 101)]


def test_the_newest_page_of_a_chat_with_long_messages_fits_into_a_frame(bench: WorkerBench) -> None:
    popular = many(bench, 1)
    fill(bench, popular, 0, 100, "\U0001f600" * 4_000)
    asked = {"username": popular.chats[0].username, "limit": 100}
    page = call(bench, popular.user, "join_chat", asked)
    assert FRAME_BYTES / 2 < size(page) < FRAME_BYTES
    assert page["hasMore"]
    assert seqs(page) == [*range(101 - len(page["messages"]), 101)]


def test_a_page_of_chats_with_long_messages_fits_into_a_frame(bench: WorkerBench) -> None:
    popular = many(bench, 100)
    for place in range(100):
        fill(bench, popular, place, 2, "\U0001f600" * 4_000)
    found: list[str] = []
    cursor = None
    while cursor is not None or not found:
        page = call(bench, popular.user, "list_chats", {"limit": 100, "cursor": cursor})
        assert size(page) < FRAME_BYTES
        found += [chat["chatId"] for chat in page["chats"]]
        cursor = page["nextCursor"]
    assert len(page["chats"]) < 100
    assert sorted(found) == sorted(popular.ids)


def test_a_message_that_is_longer_than_an_answer_is_answered_alone(make_bench: BenchFactory) -> None:
    bench = make_bench(text_chars=2_000_000)
    popular = many(bench, 2)
    for place in range(2):
        fill(bench, popular, place, 3, "x" * 900_000)
    cursors = dict.fromkeys(popular.ids, 1)
    ack = call(bench, popular.user, "sync", {"cursors": cursors})
    assert [(seqs(gap), gap["hasMore"]) for gap in ack["chats"]] == [([2], True), ([], True)]


def test_gaps_without_a_message_hide_no_others(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.handlers.sync._CHATS", 2)
    popular = many(bench, 6)
    kept = popular.ids[5]
    bench.rows("DELETE FROM messages WHERE chat_id = ANY(CAST(:ids AS uuid[]))", ids=popular.ids[:3])
    archived = popular.ids[3:5]
    for chat_id in archived:
        bench.rows("DELETE FROM messages WHERE chat_id = :chat", chat=chat_id)
        bench.rows("INSERT INTO archived_chats VALUES (:chat, '{[1,2)}')", chat=chat_id)
    bench.rows("UPDATE chats SET activity_at = now() - interval '2 days' WHERE id = :chat", chat=kept)
    ack = call(bench, popular.user, "sync", {"cursors": {}})
    assert {gap["chatId"]: gap.get("archivedBefore") for gap in ack["chats"][:2]} == dict.fromkeys(
        archived, 2
    )
    assert ack["chats"][2] == {"chatId": kept, "messages": [], "hasMore": True, "change": 0}
    ack = call(bench, popular.user, "sync", {"cursors": dict.fromkeys(archived, 1)})
    assert [(gap["chatId"], seqs(gap)) for gap in ack["chats"]] == [(kept, [1])]


@pytest.mark.parametrize("fate", ["deleted", "archived"])
def test_a_chat_whose_newest_message_is_not_stored_is_listed_with_its_seq(
    bench: WorkerBench, fate: str
) -> None:
    popular = many(bench, 1)
    (chat_id,) = popular.ids
    bench.rows("DELETE FROM messages WHERE chat_id = :chat", chat=chat_id)
    if fate == "archived":
        bench.rows("INSERT INTO archived_chats VALUES (:chat, '{[1,2)}')", chat=chat_id)
    (listed,) = call(bench, popular.user, "list_chats", {})["chats"]
    assert (listed["lastMessage"], listed["lastSeq"]) == (None, 1)
    device = Device(bench, popular.user)
    assert device.catch_up() == 0
    assert device.cursors == {chat_id: 1}


def test_a_message_that_is_committed_after_a_newer_one_is_not_missed(bench: WorkerBench) -> None:
    popular = many(bench, 300)
    device = Device(bench, popular.user)
    device.catch_up()
    slow, fast = popular.chats[0], popular.chats[1:]
    payload = msgspec.json.encode({"username": popular.username, "text": "slow"})
    command = msgspec.json.decode(payload, type=COMMANDS["send_message"].payload)
    assert isinstance(command, SendMessage)
    request = Request(str(uuid.uuid4()), str(slow.peer), "socket-1", command, msgspec.Raw(payload))
    with bench.worker_engine.begin() as conn:
        outcome = send_messages(conn, [request], bench.context)
        assert len(outcome.emits) == 1
        bench.ask(*(bench.send(chat.peer, popular.username, "fast") for chat in fast))
        assert device.catch_up() == len(fast)
    assert device.catch_up() == 1
    assert device.cursors == dict.fromkeys(popular.ids, 2)


def test_a_chat_that_becomes_active_between_two_pages_is_found_the_next_time(bench: WorkerBench) -> None:
    popular = many(bench, 120)
    device = Device(bench, popular.user)
    device.catch_up()
    bench.ask(*(bench.send(chat.peer, popular.username, "news") for chat in popular.chats[:110]))
    last = popular.chats[0]
    bench.rows(
        "UPDATE chats SET activity_at = activity_at - interval '1 minute' WHERE id = :chat", chat=last.id
    )

    def move_to_the_front() -> None:
        if bench.seqs(last.id) == [1, 2]:
            bench.ask(bench.send(last.peer, popular.username, "more news"))

    assert device.catch_up(move_to_the_front) == 109
    assert device.cursors[str(last.id)] == 1
    assert device.catch_up() == 2
    assert device.cursors[str(last.id)] == 3


def test_chats_are_listed_since_a_time_and_a_little_earlier(bench: WorkerBench) -> None:
    popular = many(bench, 5)
    margin = timedelta(seconds=list_chats._UNCOMMITTED_S)
    ages = [
        timedelta(0),
        margin / 2,
        margin - timedelta(seconds=60),
        margin + timedelta(seconds=60),
        2 * margin,
    ]
    with bench.engine.begin() as conn:
        for chat_id, age in zip(popular.ids, ages, strict=True):
            conn.execute(
                text("UPDATE chats SET activity_at = now() - CAST(:age AS interval) WHERE id = :chat"),
                {"age": age, "chat": chat_id},
            )
    since = call(bench, popular.user, "list_chats", {"since": None})["since"]
    for page in ({"limit": 100}, {"limit": 1}):
        listed: list[str] = []
        cursor: str | None = None
        while cursor is not None or not listed:
            ack = call(bench, popular.user, "list_chats", {"since": since, "cursor": cursor, **page})
            listed += [chat["chatId"] for chat in ack["chats"]]
            cursor = ack["nextCursor"]
        assert listed == popular.ids[:3]
    assert "since" not in call(bench, popular.user, "list_chats", {})
