"""`list_chats` answers with the newest chats in order, at a cost that follows the page."""

import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from functions.backfill import backfill
from functions.pacer import Pacer
from infra.store.boxes import Box
from tests.harness.buffers import cost
from tests.harness.many_chats import add_chats
from tests.harness.worker_bench import WorkerBench
from workers.handlers import list_chats as module

_IN_ORDER = """
    SELECT id FROM chats WHERE :user IN (user_lo, user_hi) ORDER BY activity_at DESC, id DESC
"""


def page(bench: WorkerBench, user: uuid.UUID, **payload: Any) -> Any:
    listed = bench.event(user, "list_chats", payload)
    return bench.ask(listed).ack(listed)


def all_pages(bench: WorkerBench, user: uuid.UUID, limit: int) -> list[str]:
    """Return the ids of all chats as a client reads them."""
    ids: list[str] = []
    cursor = None
    while True:
        ack = page(bench, user, limit=limit, **({"cursor": cursor} if cursor else {}))
        ids += [chat["chatId"] for chat in ack["chats"]]
        if (cursor := ack["nextCursor"]) is None:
            return ids


def in_order(bench: WorkerBench, user: uuid.UUID) -> list[str]:
    return [str(row.id) for row in bench.rows(_IN_ORDER, user=user)]


class Life:
    """Lets anything happen to the chats of a user that can move them in the list."""

    def __init__(self, bench: WorkerBench, engine: Engine, seed: int) -> None:
        self.bench = bench
        self.engine = engine
        self.random = random.Random(seed)
        self.user, self.name = bench.person("popular")
        self.peers = [*bench.people(*(f"peer{n}" for n in range(12))), (self.user, self.name)]

    def step(self) -> None:
        steps = [self.send, self.send, self.send, self.sweep, self.move_by_hand, self.forget, self.backfill]
        self.random.choice(steps)()

    def send(self) -> None:
        chosen = self.random.choices(self.peers, k=self.random.randint(1, 6))
        self.bench.ask(
            *(
                self.bench.send(self.user, name, "hello")
                if self.random.random() < 0.5
                else self.bench.send(peer, self.name, "hello")
                for peer, name in chosen
            )
        )

    def sweep(self) -> None:
        for chat_id in in_order(self.bench, self.user):
            if self.random.random() < 0.5:
                self.bench.make_due(chat_id)
        self.bench.sweep.run()

    def move_by_hand(self) -> None:
        """Do what a statement does that knows nothing of places."""
        self.bench.rows(
            "UPDATE chats SET activity_at = activity_at + make_interval(secs => :s)"
            " WHERE :user IN (user_lo, user_hi) AND get_byte(uuid_send(id), 15) % 3 = 0",
            s=self.random.randint(1, 100),
            user=self.user,
        )

    def forget(self) -> None:
        """Let chats be as the migration leaves them."""
        self.bench.rows(
            "UPDATE chats SET is_behind = true, listed_at = '-infinity'"
            " WHERE :user IN (user_lo, user_hi) AND get_byte(uuid_send(id), 15) % 3 = 1",
            user=self.user,
        )

    def backfill(self) -> None:
        backfill(self.engine, Pacer(60))


@pytest.mark.parametrize("seed", range(6))
def test_the_newest_chats_come_first_whatever_happens(
    unswept_bench: WorkerBench, engine: Engine, seed: int
) -> None:
    life = Life(unswept_bench, engine, seed)
    for limit in range(1, 21):
        life.step()
        assert all_pages(unswept_bench, life.user, limit) == in_order(unswept_bench, life.user)


@pytest.mark.parametrize("state", ["placed", "behind"])
def test_what_has_changed_since_is_found_wherever_the_chat_stands(
    unswept_bench: WorkerBench, state: str
) -> None:
    user, name = unswept_bench.person("popular")
    many = add_chats(unswept_bench, user, name, 10)
    if state == "behind":
        unswept_bench.rows(
            "UPDATE chats SET is_behind = true, listed_at = '-infinity' WHERE :u IN (user_lo, user_hi)",
            u=user,
        )
    since = page(unswept_bench, user, since=None)["since"]
    unswept_bench.ask(unswept_bench.send(many.chats[3].peer, name, "new"))
    unswept_bench.ask(unswept_bench.send(user, many.chats[7].username, "new"))
    changed = page(unswept_bench, user, since=since)
    assert [chat["chatId"] for chat in changed["chats"]] == [many.ids[7], many.ids[3]]


def test_a_chat_that_is_removed_while_it_is_listed_is_left_out(
    unswept_bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, name = unswept_bench.person("popular")
    many = add_chats(unswept_bench, user, name, 3)
    read_details = module._read_details

    def remove_first(*arguments: Any) -> Any:
        unswept_bench.rows("SELECT remove_profile(:p)", p=many.chats[1].peer)
        return read_details(*arguments)

    monkeypatch.setattr(module, "_read_details", remove_first)
    listed = {chat["chatId"] for chat in page(unswept_bench, user)["chats"]}
    assert listed == {many.ids[0], many.ids[2]}


FILLED = (Box.ARCHIVED, Box.PINNED, Box.REQUESTS)


def popular(bench: WorkerBench, count: int) -> uuid.UUID:
    """Return a user with chats in the inbox, some of which are busy, and with as many in each other box."""
    user, name = bench.person("popular")
    many = add_chats(bench, user, name, count)
    for chat in many.chats[:5] * 2:
        bench.ask(bench.send(user, chat.username, "hello"))
    for box in FILLED:
        add_chats(bench, user, name, count, box=box)
    return user


def test_a_page_costs_the_same_for_any_number_of_chats(unswept_bench: WorkerBench) -> None:
    """It takes a page from both indexes for each box, each chat in another block, and those behind."""
    bench = unswept_bench
    users = [popular(bench, count) for count in (60, 6_000)]
    user, name = bench.person("retired")
    for chat in add_chats(bench, user, name, 3).chats:
        bench.ask(bench.send(user, chat.username, "hello"))
    add_chats(bench, user, name, 6_000, box=Box.ARCHIVED)
    bench.rows("ANALYZE chats")
    for listed, most in ((None, 150), ("inbox", 100), ("archived", 45), ("requests", 45)):
        for popular_user in users:
            found = costs(bench, popular_user, {"box": listed} if listed else {})
            assert all(0 < buffers < most for buffers in found.values()), (listed, found)
    assert len(page(bench, user, box="inbox")["chats"]) == 3
    assert 0 < cost_of(bench, user, box="inbox") < 60


@pytest.fixture
def deep_index(unswept_bench: WorkerBench) -> Iterator[WorkerBench]:
    """Give the indexes of boxes a level more than that of pairs has, as it happens at some sizes."""
    names = ("chats_box_lo", "chats_box_hi")
    for name in names:
        unswept_bench.rows(f"ALTER INDEX {name} SET (fillfactor = 10)")
    yield unswept_bench
    for name in names:
        unswept_bench.rows(f"ALTER INDEX {name} RESET (fillfactor)")
        unswept_bench.rows(f"REINDEX INDEX {name}")


def test_a_page_is_read_from_its_index_though_another_one_has_fewer_levels(deep_index: WorkerBench) -> None:
    users = [popular(deep_index, count) for count in (60, 1_200)]
    deep_index.rows("REINDEX TABLE chats")
    deep_index.rows("ANALYZE chats")
    few, many = (cost_of(deep_index, user, limit=10) for user in users)
    assert 0 < many < 2 * few, (few, many)


def costs(bench: WorkerBench, user: uuid.UUID, box: dict[str, str]) -> dict[str, int]:
    """Return how many buffers of Postgres it takes to find the chats of some pages of a box."""
    second = page(bench, user, limit=10, cursor=page(bench, user, limit=20, **box)["nextCursor"], **box)
    asked = {
        "first": {},
        "later": {"cursor": second["nextCursor"]},
        "changed": {"since": bench.rows("SELECT now()")[0][0].isoformat()},
    }
    return {kind: cost_of(bench, user, limit=10, **payload, **box) for kind, payload in asked.items()}


def cost_of(bench: WorkerBench, user: uuid.UUID, **payload: Any) -> int:
    return cost(bench, "before_chat", lambda: page(bench, user, **payload))


def test_the_messages_of_a_busy_chat_change_no_index(unswept_bench: WorkerBench) -> None:
    bench = unswept_bench
    (alice, _), (_, bob) = bench.people("alice", "bob")
    for _ in range(3):
        bench.open_chat(alice, bob)
    before = in_place(bench)
    for _ in range(20):
        bench.ask(bench.send(alice, bob, "more"))
    assert in_place(bench) - before == 20


def in_place(bench: WorkerBench) -> int:
    """Return how many updates of chats have left the indexes alone."""
    with bench.worker_engine.begin() as conn:
        conn.execute(text("SELECT pg_stat_force_next_flush()"))
    ((count,),) = bench.rows("SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'chats'")
    return int(count)
