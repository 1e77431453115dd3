"""Catch-up: everything undelivered, oldest first, at a cost per page that follows the page."""

import uuid
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from infra.wire.commands import CatchUp
from infra.wire.inbox import CatchUpPage
from socket_edge.delivery.catch_up import ChatsAhead
from tests.harness.buffers import buffers, start_counting
from tests.harness.talk import Talk
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import NEVER_S, BenchFactory
from workers.handlers import catch_up as module

PAGE = 10

_BULK = """
WITH peers AS (
    INSERT INTO profiles (id, username, username_key)
    SELECT gen_random_uuid(), :prefix || n, :prefix || n FROM generate_series(1, :chats) n
    RETURNING id
), opened AS (
    INSERT INTO chats (id, user_lo, user_hi, last_seq, last_to_lo, last_to_hi)
    SELECT gen_random_uuid(), least(id, :bob), greatest(id, :bob), :each,
        CASE WHEN id > :bob THEN :each ELSE 0 END, CASE WHEN id > :bob THEN 0 ELSE :each END
    FROM peers
    RETURNING *
), members AS (
    INSERT INTO chat_members (chat_id, user_id, delivered_seq)
    SELECT id, user_lo, :delivered FROM opened UNION ALL SELECT id, user_hi, :delivered FROM opened
)
INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
SELECT id, seq, gen_random_uuid(), CASE :bob WHEN user_lo THEN user_hi ELSE user_lo END, :bob, 'hello',
    timestamptz '2026-01-01' + {time} * interval '1 s'
FROM (SELECT *, row_number() OVER (ORDER BY id) AS place FROM opened) opened, generate_series(1, :each) seq
"""
TIMES = {
    "interleaved": "(place * 7 + seq)",
    "in turns": "(seq * 1000 + place)",
    "one chat after the other": "(place * 1000 + seq)",
    "in bursts": "(place * 10 + seq / 4 * 100000)",
    "at once": "1",
    "rarely": "(seq * seq * (1 + place % 9) * 1000 + place)",
}
"""When the messages of a chat, by its place, were sent."""


def bulk(
    bench: WorkerBench,
    bob: uuid.UUID,
    chats: int,
    each: int = 1,
    *,
    delivered: int = 0,
    times: str = "interleaved",
) -> None:
    """Give bob chats with `each` messages to him."""
    params = {"prefix": f"p{uuid.uuid4().hex[:12]}_", "chats": chats, "each": each, "delivered": delivered}
    bench.rows(_BULK.format(time=TIMES[times]), bob=bob, **params)


@dataclass
class Walk:
    """What a socket has received, and what each request has cost in bytes and in buffers of Postgres."""

    messages: list[Any] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    buffers: list[int] = field(default_factory=list)

    def positions(self) -> list[tuple[str, int]]:
        return [(message["chatId"], message["seq"]) for message in self.messages]


class Device:
    """A socket of a user that catches up as an edge lets it."""

    def __init__(self, bench: WorkerBench, user_id: uuid.UUID, pages: int = 1) -> None:
        """Its edge asks for answers of so many `pages`."""
        self.bench = bench
        self.user_id = user_id
        self.pages = pages
        self.walk = Walk()
        self._ahead = ChatsAhead()

    def look_up(self, **more: Any) -> None:
        """Look up all chats with undelivered messages."""
        chats_after: str | None = None
        while True:
            page = self.ask(CatchUp(keeps_cursors=True, chats_after=chats_after, **more))
            if (chats_after := page.chats_after) is None:
                return

    def next_page(self) -> bool:
        """Read the next page; return whether there was one."""
        if not self._ahead:
            return False
        cursors, until_us = self._ahead.take(self.pages)
        self.ask(CatchUp(after=cursors, until_us=until_us, keeps_cursors=True, pages=self.pages))
        return True

    def finish(self) -> Walk:
        while self.next_page():
            pass
        return self.walk

    def ask(self, command: CatchUp) -> CatchUpPage:
        payload = msgspec.json.encode(command)
        request = self.bench.event(self.user_id, "catch_up", payload)
        before = buffers(self.bench, *READS)
        answer = self.bench.ask(request).answers[request.id]
        self.walk.buffers.append(buffers(self.bench, *READS) - before)
        self.walk.sizes.append(len(payload) + len(bytes(answer.data)))
        assert answer.failure is None, answer.failure
        page = msgspec.json.decode(answer.data, type=CatchUpPage)
        self.walk.counts.append(len(page.messages))
        self.walk.messages += [msgspec.json.decode(message.data) for message in page.messages]
        self._ahead.add(page)
        return page


READS = ("last_chat", "portion", "AS wanted (chat_id, seq)")
"""Occur in the statements that read a backlog, each in some of them."""


@pytest.fixture
def bench(make_bench: BenchFactory) -> WorkerBench:
    bench = make_bench(page=PAGE, sweep_after_s=NEVER_S)
    start_counting(bench)
    return bench


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHATS", 40)


def stored(bench: WorkerBench, user_id: uuid.UUID) -> list[tuple[str, int]]:
    """Return what was sent to a user, oldest first."""
    return [
        (str(row.chat_id), row.seq)
        for row in bench.rows(
            "SELECT chat_id, seq FROM messages WHERE recipient_id = :u ORDER BY created_at, chat_id, seq",
            u=user_id,
        )
    ]


@pytest.mark.parametrize(("chats", "each"), [(1, 1), (1, 35), (10, 1), (11, 3), (39, 2), (40, 1), (130, 3)])
def test_everything_comes_once_and_oldest_first(bench: WorkerBench, chats: int, each: int) -> None:
    bob, _ = bench.person("bob")
    bulk(bench, bob, chats, each)
    device = Device(bench, bob)
    device.look_up()
    assert device.finish().positions() == stored(bench, bob)


@pytest.mark.parametrize(("page", "pages"), [(PAGE, 4), (60, 1)])
@pytest.mark.parametrize(("chats", "each"), [(1, 95), (7, 30), (230, 3)])
@pytest.mark.parametrize("times", TIMES)
def test_the_order_is_that_of_time_whenever_the_chats_were_busy(
    make_bench: BenchFactory, bench: WorkerBench, times: str, chats: int, each: int, page: int, pages: int
) -> None:
    bench = make_bench(page=page, sweep_after_s=NEVER_S)
    bob, _ = bench.person("bob")
    bulk(bench, bob, chats, each, times=times)
    device = Device(bench, bob, pages)
    device.look_up()
    assert device.finish().positions() == stored(bench, bob)


def test_an_answer_of_several_pages_holds_as_many_messages(bench: WorkerBench) -> None:
    bob, _ = bench.person("bob")
    bulk(bench, bob, 2, 100)
    lengths = []
    for pages in (1, 4, 1_000):
        device = Device(bench, bob, pages)
        device.look_up()
        before = len(device.walk.messages)
        device.next_page()
        lengths.append(len(device.walk.messages) - before)
    assert lengths == [PAGE, 4 * PAGE, 4 * PAGE]


def test_an_answer_ends_where_its_texts_get_too_long(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BYTES", 10_000)
    bob, _ = bench.person("bob")
    bulk(bench, bob, 3, 20, times="in turns")
    bench.rows(
        "UPDATE messages SET text = repeat('x', CASE seq WHEN 5 THEN 12000 WHEN 7 THEN 2000 ELSE 10 END),"
        " data = CASE WHEN seq = 9 THEN json_build_object('a', repeat('y', 2000)) END"
        " WHERE recipient_id = :u",
        u=bob,
    )
    device = Device(bench, bob, pages=4)
    device.look_up()
    assert device.finish().positions() == stored(bench, bob)
    texts = [len(one["text"]) + len(one.get("data", {"a": ""})["a"]) for one in device.walk.messages]
    ends = [0]
    for size in device.walk.counts:
        ends.append(ends[-1] + size)
    pages = [texts[start:end] for start, end in pairwise(ends)]
    assert all(len(one) == 1 or sum(one) <= 10_000 for one in pages)
    assert [12_000] in pages


@pytest.mark.parametrize(("pages", "most"), [(1, 9), (4, 5)])
@pytest.mark.parametrize("times", [name for name in TIMES if name != "at once"])
def test_few_messages_are_read_that_are_not_sent(
    make_bench: BenchFactory, bench: WorkerBench, times: str, pages: int, most: int
) -> None:
    bench = make_bench(page=50, sweep_after_s=NEVER_S)
    bob, _ = bench.person("bob")
    bulk(bench, bob, 60, 30, times=times)
    bench.rows("ANALYZE")
    device = Device(bench, bob, pages)
    device.look_up()
    before = fetched(bench)
    device.finish()
    # Once to see which come next, with others that come later, and once more to send it.
    assert 0 < fetched(bench) - before <= most * 60 * 30


def fetched(bench: WorkerBench) -> int:
    """Return how many messages were read with an index."""
    with bench.worker_engine.begin() as conn:
        conn.execute(text("SELECT pg_stat_force_next_flush()"))
    ((count,),) = bench.rows("SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'messages'")
    return int(count)


@pytest.mark.parametrize("chats", [0, 1, 9])
def test_few_messages_come_with_a_single_request(bench: WorkerBench, chats: int) -> None:
    bob, _ = bench.person("bob")
    bulk(bench, bob, chats)
    bulk(bench, bob, 20, 2, delivered=2)
    device = Device(bench, bob)
    device.look_up()
    assert len(device.finish().messages) == chats
    assert len(device.walk.sizes) == 1


def test_a_fast_device_does_not_cut_short_the_backlog_of_a_slow_one(bench: WorkerBench) -> None:
    bob, _ = bench.person("bob")
    bulk(bench, bob, 90, 2)
    slow, fast = Device(bench, bob), Device(bench, bob)
    slow.look_up()
    fast.look_up()
    fast.finish()
    bench.rows("UPDATE chat_members SET delivered_seq = 2 WHERE user_id = :u", u=bob)
    assert slow.finish().positions() == fast.walk.positions() == stored(bench, bob)


def test_a_message_that_vanishes_meanwhile_changes_nothing_for_the_others(bench: WorkerBench) -> None:
    bob, _ = bench.person("bob")
    bulk(bench, bob, 80, 2)
    device = Device(bench, bob)
    device.look_up()
    gone = "seq = 1 AND chat_id::text LIKE ANY (ARRAY['0%', '4%', '8%', 'c%'])"
    bench.rows(f"DELETE FROM messages WHERE recipient_id = :u AND {gone}", u=bob)
    assert device.finish().positions() == stored(bench, bob)


def test_what_may_be_lost_comes_although_it_was_delivered(bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = bench.people("alice", "bob")
    bulk(bench, bob, 50, 2, delivered=2)
    sent = [
        bench.ask(one).ack(one)["message"] for one in (bench.send(alice, bobs_name, "x") for _ in range(3))
    ]
    bench.rows("UPDATE chat_members SET delivered_seq = 3 WHERE chat_id = :c", c=sent[0]["chatId"])
    device = Device(bench, bob)
    device.look_up(lost_s=3600.0)
    assert [message["id"] for message in device.finish().messages] == [message["id"] for message in sent]


def told(bench: WorkerBench, user_id: uuid.UUID, **command: Any) -> list[tuple[int, int]]:
    """Return the seq and change of what the user is told has changed, at the start of a catch-up."""
    asked = bench.event(user_id, "catch_up", msgspec.json.encode(CatchUp(**command)))
    reply = bench.ask(asked)
    return [(one["seq"], one["change"]) for one in reply.emitted("message_changed", user_id)]


def test_changes_that_may_be_lost_are_told_again_to_both(bench: WorkerBench) -> None:
    talk = Talk.start(bench)
    for _ in range(4):
        talk.send(talk.alice)
    for seq in (3, 1, 2, 3):
        talk.edit(talk.alice, seq, uuid.uuid4().hex)
    talk.unsend(talk.alice, 4)
    for user_id in (talk.alice, talk.bob):
        assert told(bench, user_id, lost_s=3600.0) == [(1, 2), (2, 3), (3, 4), (4, 5)]
        assert told(bench, user_id) == []
        assert told(bench, user_id, after={}, lost_s=3600.0) == []
    stranger, _ = bench.person("mallory")
    assert told(bench, stranger, lost_s=3600.0) == []


def test_changes_before_the_loss_or_of_what_is_cleared_are_not_told_again(bench: WorkerBench) -> None:
    talk = Talk.start(bench)
    for seq in (1, 2, 3):
        talk.send(talk.alice)
        talk.edit(talk.alice, seq, "edited")
    bench.rows(
        "UPDATE changed_messages SET changed_at = now() - interval '1 hour' WHERE chat_id = :c AND seq = 1",
        c=talk.chat_id,
    )
    talk.ask(talk.bob, "clear_chat", upTo=2)
    assert told(bench, talk.alice, lost_s=600.0) == [(2, 2), (3, 3)]
    assert told(bench, talk.bob, lost_s=600.0) == [(3, 3)]


def test_of_very_many_lost_changes_some_are_told_again(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHANGES", 3)
    talk = Talk.start(bench)
    for seq in range(1, 6):
        talk.send(talk.alice)
        talk.edit(talk.alice, seq, "edited")
    assert told(bench, talk.bob, lost_s=600.0) == [(3, 3), (4, 4), (5, 5)]
    gap = talk.gap(talk.bob, {"seq": 5})
    assert [message["seq"] for message in gap["changes"]] == [1, 2, 3, 4, 5]


def walk(bench: WorkerBench, chats: int, each: int, *, done: int = 0) -> Walk:
    """Catch up with the first pages."""
    bob, _ = bench.person("bob")
    bulk(bench, bob, chats, each)
    bulk(bench, bob, done, 2, delivered=2)
    bench.rows("ANALYZE")
    device = Device(bench, bob)
    device.look_up()
    for _ in range(20):
        device.next_page()
    return device.walk


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ({"chats": 300, "each": 1}, {"chats": 6_000, "each": 1}),
        ({"chats": 60, "each": 2, "done": 60}, {"chats": 60, "each": 2, "done": 1_000}),
        ({"chats": 60, "each": 20}, {"chats": 60, "each": 80}),
    ],
    ids=["chats with undelivered messages", "other chats", "messages of a chat"],
)
def test_a_page_costs_the_same_whatever_the_user_has(
    make_bench: BenchFactory, bench: WorkerBench, small: dict[str, int], large: dict[str, int]
) -> None:
    bench = make_bench(page=50, sweep_after_s=NEVER_S)
    few, many = walk(bench, **small), walk(bench, **large)
    assert len(many.sizes) >= len(few.sizes)
    assert max(many.sizes) <= 1.2 * max(few.sizes)
    # An index of more rows may have one more level.
    assert max(many.buffers) <= 2 * max(few.buffers)


def test_an_edge_of_the_previous_release_is_told_all_cursors(bench: WorkerBench) -> None:
    bob, _ = bench.person("bob")
    bulk(bench, bob, 50, 2)
    device = Device(bench, bob)
    after: dict[str, int] | None = None
    while True:
        page = device.ask(CatchUp(after=after))
        assert page.ahead is None
        if page.next is None:
            break
        assert len(page.next) == 50
        after = page.next
    assert device.walk.positions() == stored(bench, bob)
