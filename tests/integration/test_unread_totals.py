"""All that a user has not read is counted exactly, told to all devices, and costs what is unread."""

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import RedisError
from sqlalchemy import Engine, text

from functions.backfill import backfill
from functions.pacer import Pacer
from infra.store.unread import MOST_CHATS
from tests.harness.buffers import cost
from tests.harness.many_chats import add_chats
from tests.harness.two import Person, Two
from tests.harness.worker_bench import WorkerBench
from workers.publish import Publisher

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
_BY_HAND = """
    SELECT count(*) AS total, count(DISTINCT m.chat_id) AS chats
    FROM messages m
    JOIN chats c ON c.id = m.chat_id
    JOIN chat_members w ON w.chat_id = m.chat_id AND w.user_id = :user
    WHERE m.recipient_id = :user AND m.sender_id <> :user AND m.seq > w.read_seq
        AND CASE :user WHEN c.user_lo THEN c.lo_box ELSE c.hi_box END IN (1, 2)
        AND c.lo_blocked_at IS NULL AND c.hi_blocked_at IS NULL
        AND (w.muted_until IS NULL OR w.muted_until <= now())
"""
_MARKED = """
    SELECT count(*) FROM chats
    WHERE user_lo = :user AND user_hi <> :user AND (lo_unread OR sweep_at IS NOT NULL)
        OR user_hi = :user AND user_lo <> :user AND (hi_unread OR sweep_at IS NOT NULL)
"""


def by_hand(bench: WorkerBench, user: uuid.UUID) -> dict[str, int]:
    (row,) = bench.rows(_BY_HAND, user=user)
    return {"total": row.total, "chats": row.chats}


def when_connected(bench: WorkerBench, user: uuid.UUID) -> dict[str, int]:
    """Return what a socket of the user hears when it connects."""
    bench.read()
    reply = bench.ask(bench.event(user, "catch_up", {}))
    (told,) = reply.emitted("unread_changed", user)
    assert isinstance(told, dict)
    return told


def marked(bench: WorkerBench, user: uuid.UUID) -> int:
    """Return how many chats a count for the user looks at."""
    ((count,),) = bench.rows(_MARKED, user=user)
    return int(count)


def sweep(bench: WorkerBench, *users: uuid.UUID) -> None:
    """Have the sweep look at all chats of some users."""
    due = "UPDATE chats SET sweep_at = now() - interval '1 day' WHERE sweep_at IS NOT NULL"
    bench.rows(f"{due} AND (user_lo = ANY(:users) OR user_hi = ANY(:users))", users=list(users))
    bench.sweep.run()


class Life:
    """A user with some peers, and what happens to their chats."""

    def __init__(self, bench: WorkerBench, engine: Engine, seed: int) -> None:
        self.bench = bench
        self.engine = engine
        self.random = random.Random(seed)
        self.user, self.name = bench.person("alice")
        bench.connect(self.user)
        self.peers = bench.people(*(f"peer{n}" for n in range(4)))
        self.chats = [bench.open_chat(peer, self.name) for peer, _ in self.peers]
        self.acts: list[Callable[[int], Any]] = [
            *(3 * [self.hear]),
            *(2 * [self.read]),
            *(2 * [self.sweep]),
            self.write,
            self.write_to_oneself,
            self.clear,
            self.move,
            self.mute,
            self.block,
            self.be_blocked,
            self.backfill,
        ]

    def step(self) -> None:
        self.random.choice(self.acts)(self.random.randrange(len(self.peers)))

    def hear(self, n: int) -> None:
        count = self.random.randint(1, 4)
        self.bench.ask(*(self.bench.send(self.peers[n][0], self.name, "hello") for _ in range(count)))

    def write(self, n: int) -> None:
        self.bench.ask(self.bench.send(self.user, self.peers[n][1], "hello"))

    def write_to_oneself(self, _: int) -> None:
        self.bench.ask(self.bench.send(self.user, self.name, "hello"))

    def read(self, n: int) -> None:
        up_to = {"upTo": self.random.randint(1, 12)} if self.random.random() < 0.4 else {}
        self.do("mark_as_read", chatId=self.chats[n], **up_to)

    def clear(self, n: int) -> None:
        self.do("clear_chat", chatId=self.chats[n])

    def move(self, n: int) -> None:
        self.do("set_chat", chatId=self.chats[n], **{self.random.choice(["pinned", "archived"]): True})
        if self.random.random() < 0.7:
            self.do("set_chat", chatId=self.chats[n], pinned=False, archived=False)

    def mute(self, n: int) -> None:
        self.do("set_chat", chatId=self.chats[n], mutedUntil=self.random.choice([TOMORROW, None, None]))

    def block(self, n: int) -> None:
        self.do(self.random.choice(["block_user", "unblock_user"]), userId=str(self.peers[n][0]))

    def be_blocked(self, n: int) -> None:
        name = self.random.choice(["block_user", "unblock_user"])
        self.bench.ask(self.bench.event(self.peers[n][0], name, {"userId": str(self.user)}))

    def sweep(self, _: int) -> None:
        sweep(self.bench, self.user)

    def backfill(self, _: int) -> None:
        backfill(self.engine, Pacer(60))

    def do(self, name: str, **payload: Any) -> None:
        """Ask something; whatever it changes for the user is told."""
        before = by_hand(self.bench, self.user)
        told = self.bench.ask(self.bench.event(self.user, name, payload)).emitted("unread_changed", self.user)
        after = by_hand(self.bench, self.user)
        assert told in ([after], [] if before == after else None), name


@pytest.mark.parametrize("seed", range(6))
def test_the_totals_are_exact_whatever_happens(unswept_bench: WorkerBench, engine: Engine, seed: int) -> None:
    life = Life(unswept_bench, engine, seed)
    for _ in range(40):
        life.step()
        assert when_connected(unswept_bench, life.user) == by_hand(unswept_bench, life.user)


def read(two: Two, **more: Any) -> Any:
    return two.do(two.bob, "mark_as_read", chatId=two.chat_id, **more)


def clear(two: Two) -> Any:
    return two.do(two.bob, "clear_chat", chatId=two.chat_id)


def change(**changed: Any) -> Callable[[Two], Any]:
    return lambda two: two.do(two.bob, "set_chat", chatId=two.chat_id, **changed)


def block(two: Two) -> Any:
    return two.block(two.bob)


@pytest.mark.parametrize(
    "act",
    [read, clear, change(archived=True), change(mutedUntil=TOMORROW), block],
    ids=lambda act: act.__name__,
)
def test_all_devices_are_told_when_less_is_unread(bench: WorkerBench, act: Callable[[Two], Any]) -> None:
    two = Two.friends(bench)
    read(two)
    for _ in range(3):
        two.send(two.alice)
    assert two.heard(two.bob, "unread_changed") == []
    assert when_connected(bench, two.bob.id) == {"total": 3, "chats": 1}
    act(two)
    assert two.heard(two.bob, "unread_changed") == [{"total": 0, "chats": 0}]
    assert two.heard(two.alice, "unread_changed") == []


def test_what_is_left_is_told_and_nothing_if_nothing_was_read(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    read(two)
    seqs = [two.send(two.alice)["seq"] for _ in range(3)]
    read(two, upTo=seqs[0])
    assert two.heard(two.bob, "unread_changed") == [{"total": 2, "chats": 1}]
    read(two, upTo=seqs[0])
    assert two.heard(two.bob, "unread_changed") == []


@pytest.mark.parametrize("way", ["accept_chat", "an answer"])
def test_a_request_counts_once_it_is_accepted(bench: WorkerBench, way: str) -> None:
    two = Two.strangers(bench)
    two.settings(two.bob, messagesFrom="requests")
    two.send(two.alice)
    two.send(two.alice)
    assert when_connected(bench, two.bob.id) == {"total": 0, "chats": 0}
    if way == "accept_chat":
        two.do(two.bob, "accept_chat", chatId=two.chat_id)
    else:
        two.send(two.bob)
    assert two.heard(two.bob, "unread_changed") == [{"total": 2, "chats": 1}]


def told_by_sweep(two: Two, person: Person) -> list[Any]:
    two.bench.read()
    sweep(two.bench, person.id)
    return two.bench.read().emitted("unread_changed", person.id)


def test_the_sweep_tells_once_that_a_chat_has_become_unread(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    read(two)
    sweep(bench, two.bob.id)
    two.send(two.alice)
    two.send(two.alice)
    assert told_by_sweep(two, two.bob) == [{"total": 2, "chats": 1}]
    two.send(two.alice)
    assert told_by_sweep(two, two.bob) == []
    read(two)
    two.send(two.alice)
    assert told_by_sweep(two, two.bob) == [{"total": 1, "chats": 1}]
    assert two.bench.read().emitted("unread_changed", two.alice.id) == []


def test_the_sweep_tells_nobody_who_has_read(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    two.send(two.alice)
    read(two)
    assert told_by_sweep(two, two.bob) == []


def test_what_the_sweep_could_not_publish_is_told_by_the_next_one(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = Two.friends(bench)
    read(two)
    sweep(bench, two.bob.id)
    two.send(two.alice)
    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "publish", _fail)
        with pytest.raises(RedisError):
            sweep(bench, two.bob.id)
    assert told_by_sweep(two, two.bob) == [{"total": 1, "chats": 1}]


def _fail(*_: object) -> None:
    raise RedisError


def test_a_page_that_follows_tells_nothing(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    reply = bench.ask(bench.event(two.bob.id, "catch_up", {"after": {two.chat_id: 1}}))
    assert reply.emitted("unread_changed", two.bob.id) == []


def test_reading_leaves_nothing_to_look_at(unswept_bench: WorkerBench) -> None:
    two = Two.friends(unswept_bench)
    two.send(two.alice)
    sweep(unswept_bench, two.bob.id)
    assert [marked(unswept_bench, person.id) for person in (two.alice, two.bob)] == [1, 1]
    for person in (two.alice, two.bob):
        two.do(person, "mark_as_read", chatId=two.chat_id)
    assert [marked(unswept_bench, person.id) for person in (two.alice, two.bob)] == [0, 0]


def test_both_may_read_in_one_batch(unswept_bench: WorkerBench) -> None:
    two = Two.friends(unswept_bench)
    sweep(unswept_bench, two.bob.id)
    two.ask(*(two.event(person, "mark_as_read", chatId=two.chat_id) for person in (two.alice, two.bob)))
    assert [marked(unswept_bench, person.id) for person in (two.alice, two.bob)] == [0, 0]


def test_reading_waits_for_nobody_who_holds_the_chat(unswept_bench: WorkerBench) -> None:
    two = Two.friends(unswept_bench)
    two.send(two.alice)
    sweep(unswept_bench, two.bob.id)
    unswept_bench.read()
    with unswept_bench.engine.begin() as conn:
        conn.execute(text("SELECT FROM chats WHERE id = :c FOR UPDATE"), {"c": two.chat_id})
        read(two)
        assert two.heard(two.bob, "unread_changed") == [{"total": 0, "chats": 0}]
    assert marked(unswept_bench, two.bob.id) == 1
    assert when_connected(unswept_bench, two.bob.id) == {"total": 0, "chats": 0}


def test_cleanup_marks_what_is_unread_of_earlier_releases(unswept_bench: WorkerBench, engine: Engine) -> None:
    user, name = unswept_bench.person("popular")
    many = add_chats(unswept_bench, user, name, 20)
    for chat in many.ids[:15]:
        unswept_bench.rows(
            "UPDATE chat_members SET read_seq = 1 WHERE user_id = :u AND chat_id = :c", u=user, c=chat
        )
    assert marked(unswept_bench, user) == 20
    backfill(engine, Pacer(60))
    assert marked(unswept_bench, user) == 5
    assert when_connected(unswept_bench, user) == {"total": 5, "chats": 5}


def test_more_chats_than_are_counted_make_no_difference(unswept_bench: WorkerBench) -> None:
    user, name = unswept_bench.person("popular")
    add_chats(unswept_bench, user, name, MOST_CHATS + 7)
    told = when_connected(unswept_bench, user)
    assert told == {"total": MOST_CHATS, "chats": MOST_CHATS}


def cost_of_counting(bench: WorkerBench, user: uuid.UUID) -> int:
    bench.rows("ANALYZE")
    return cost(bench, "reader.user_id", lambda: when_connected(bench, user))


def test_a_count_costs_the_same_for_any_number_of_messages(unswept_bench: WorkerBench) -> None:
    costs = []
    for size in (5, 5_000):
        two = Two.friends(unswept_bench)
        for _ in range(0, size, min(size, 250)):
            two.ask(*(two.sending(two.alice) for _ in range(min(size, 250))))
        sweep(unswept_bench, two.bob.id)
        assert when_connected(unswept_bench, two.bob.id) == by_hand(unswept_bench, two.bob.id)
        costs.append(cost_of_counting(unswept_bench, two.bob.id))
    few, many = costs
    # The index is a level higher.
    assert 0 < many <= few + 6, costs


def test_a_count_costs_the_same_for_any_number_of_chats_that_do_not_count(
    unswept_bench: WorkerBench, engine: Engine
) -> None:
    costs = []
    for size in (10, 3_000):
        user, name = unswept_bench.person("popular")
        add_chats(unswept_bench, user, name, size)
        unswept_bench.rows("UPDATE chat_members SET read_seq = 1 WHERE user_id = :u", u=user)
        backfill(engine, Pacer(60))
        unread = add_chats(unswept_bench, user, name, 3)
        assert len(unread.ids) == 3
        assert when_connected(unswept_bench, user) == {"total": 3, "chats": 3}
        costs.append(cost_of_counting(unswept_bench, user))
    few, many = costs
    assert 0 < many <= few + 12, costs


def test_an_archived_chat_counts_again_when_it_comes_back(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    read(two)
    change(archived=True)(two)
    two.send(two.alice)
    assert when_connected(bench, two.bob.id) == {"total": 0, "chats": 0}
    change(archived=False)(two)
    assert two.heard(two.bob, "unread_changed") == [{"total": 1, "chats": 1}]
