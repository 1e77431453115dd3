"""Unread counts are exact, whatever has happened to a chat, and cost the same for any number of messages."""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, text

from functions import numbering as module
from functions.backfill import backfill
from functions.numbering import number_messages
from functions.pacer import Pacer
from infra.store.counting import NUMBERED_AFTER
from tests.harness.buffers import cost
from tests.harness.worker_bench import WorkerBench

_BY_HAND = """
    WITH stored AS (
        INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)
        SELECT c.id, c.last_seq + n, gen_random_uuid(), :sender, :recipient, 'by hand', now()
        FROM chats c, generate_series(1, CAST(:count AS int)) n WHERE c.id = :chat
    )
    UPDATE chats SET last_seq = last_seq + :count, last_to_lo = NULL, last_to_hi = NULL WHERE id = :chat
"""
"""What a worker of the previous release does, which knows no numbers."""

_RESTORE = """
    WITH counted AS (
        UPDATE chats SET numbered_after = greatest(numbered_after, :last) WHERE id = :chat
    )
    INSERT INTO messages SELECT * FROM away WHERE chat_id = :chat AND seq BETWEEN :first AND :last
"""
_UNREAD = """
    SELECT count(*) FROM messages m JOIN chat_members w ON w.chat_id = m.chat_id AND w.user_id = :user
    WHERE m.chat_id = :chat AND m.recipient_id = :user AND m.sender_id <> :user AND m.seq > w.read_seq
"""


@dataclass
class Talk:
    """A chat of two people."""

    bench: WorkerBench
    people: list[tuple[uuid.UUID, str]]
    chat: str

    @classmethod
    def start(cls, bench: WorkerBench) -> "Talk":
        people = bench.people("alice", "bob")
        first = bench.event(people[0][0], "join_chat", {"username": people[1][1]})
        return cls(bench, people, bench.ask(first).ack(first)["chatId"])

    def send(self, *senders: int) -> None:
        """Store one message of each sender, in this order."""
        sends = [self.bench.send(self.people[n][0], self.people[1 - n][1], "hello") for n in senders]
        answers = self.bench.ask(*sends).answers
        assert all(answers[one.id].failure is None for one in sends)

    def store_by_hand(self, sender: int, count: int) -> None:
        ids = [user_id for user_id, _ in self.people]
        params = {"sender": ids[sender], "recipient": ids[1 - sender], "count": count}
        self.bench.rows(_BY_HAND, chat=self.chat, **params)

    def read(self, reader: int, up_to: int) -> Any:
        """Mark as read; return the ack."""
        marked = self.bench.event(
            self.people[reader][0], "mark_as_read", {"chatId": self.chat, "upTo": up_to}
        )
        return self.bench.ask(marked).ack(marked)

    def unread(self, reader: int) -> int:
        """Return what the list of chats says."""
        listed = self.bench.event(self.people[reader][0], "list_chats", {})
        (chat,) = self.bench.ask(listed).ack(listed)["chats"]
        return int(chat["unread"])

    def counted(self, reader: int) -> int:
        """Return how many there are, counted one by one."""
        ((count,),) = self.bench.rows(_UNREAD, chat=self.chat, user=self.people[reader][0])
        return int(count)

    def numbered_after(self) -> int:
        ((seq,),) = self.bench.rows(
            f"SELECT {NUMBERED_AFTER.format(chat='c')} FROM chats c WHERE id = :c", c=self.chat
        )
        return int(seq)


@pytest.fixture
def talk(unswept_bench: WorkerBench) -> Talk:
    return Talk.start(unswept_bench)


@pytest.fixture
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PORTION", 7)


class Life:
    """Lets anything happen to a chat, and knows nothing of numbers."""

    def __init__(self, talk: Talk, engine: Engine, seed: int) -> None:
        self.talk = talk
        self.rows = talk.bench.rows
        self.engine = engine
        self.random = random.Random(seed)
        self.rows("CREATE TABLE IF NOT EXISTS away (LIKE messages)")

    def step(self) -> None:
        steps = [self.send, self.send, self.store_by_hand, self.read, self.delete, self.restore, self.number]
        self.random.choice(steps)()

    def send(self) -> None:
        self.talk.send(*self.random.choices((0, 1), k=self.random.randint(1, 12)))

    def store_by_hand(self) -> None:
        self.talk.store_by_hand(self.random.randrange(2), self.random.randint(1, 5))

    def read(self) -> None:
        ((last,),) = self.rows("SELECT last_seq FROM chats WHERE id = :c", c=self.talk.chat)
        self.talk.read(self.random.randrange(2), self.random.randint(0, last))

    def delete(self) -> None:
        """Delete some of the oldest messages, for good or into the archive."""
        params = {"chat": self.talk.chat, "count": self.random.randint(1, 15)}
        gone = (
            "DELETE FROM messages WHERE chat_id = :chat AND seq IN"
            " (SELECT seq FROM messages WHERE chat_id = :chat ORDER BY seq LIMIT :count)"
        )
        if self.random.random() < 0.3:
            self.rows(gone, **params)
        else:
            self.rows(f"WITH gone AS ({gone} RETURNING *) INSERT INTO away SELECT * FROM gone", **params)

    def restore(self) -> None:
        """Bring some of the archived messages back."""
        away = [
            row.seq
            for row in self.rows("SELECT seq FROM away WHERE chat_id = :c ORDER BY seq", c=self.talk.chat)
        ]
        if not away:
            return
        first, last = sorted(self.random.choices(away, k=2))
        params = {"chat": self.talk.chat, "first": first, "last": last}
        self.rows(_RESTORE, **params)
        self.rows("DELETE FROM away WHERE chat_id = :chat AND seq BETWEEN :first AND :last", **params)

    def number(self) -> None:
        number_messages(self.engine, Pacer(60), uuid.UUID(self.talk.chat))


@pytest.mark.usefixtures("_small_portions")
@pytest.mark.parametrize("seed", range(8))
def test_counts_are_exact_whatever_happens(talk: Talk, engine: Engine, seed: int) -> None:
    life = Life(talk, engine, seed)
    for _ in range(25):
        life.step()
        for reader in (0, 1):
            assert talk.unread(reader) == talk.counted(reader)
            assert talk.read(reader, 0)["unread"] == talk.counted(reader)


def test_notes_to_self_are_never_unread(unswept_bench: WorkerBench) -> None:
    alice, name = unswept_bench.person("alice")
    for _ in range(3):
        unswept_bench.open_chat(alice, name)
    listed = unswept_bench.event(alice, "list_chats", {})
    (chat,) = unswept_bench.ask(listed).ack(listed)["chats"]
    assert (chat["lastSeq"], chat["unread"]) == (3, 0)


WAYS: dict[str, Callable[[int], int]] = {
    "all from the peer": lambda n: 1,
    "the newest ones own": lambda n: 1 if n < 3 else 0,
    "in turns": lambda n: n % 2,
}


def cost_of_counting(talk: Talk) -> dict[str, int]:
    """Return how many buffers of Postgres each way to see the count takes."""
    asks: dict[str, Callable[[], Any]] = {
        "list_chats": lambda: talk.unread(0),
        "mark_as_read": lambda: talk.read(0, 0),
    }
    talk.bench.rows("ANALYZE")
    return {name: cost(talk.bench, "reader.chat_id", ask) for name, ask in asks.items()}


@pytest.mark.parametrize("way", WAYS)
def test_a_count_costs_the_same_for_any_number_of_messages(unswept_bench: WorkerBench, way: str) -> None:
    costs: list[dict[str, int]] = []
    for size in (5, 5_000):
        talk = Talk.start(unswept_bench)
        for start in range(0, size, 250):
            talk.send(*(WAYS[way](n) for n in range(start, min(start + 250, size))))
        assert talk.unread(0) == talk.counted(0)
        costs.append(cost_of_counting(talk))
    few, many = costs
    assert all(few.values())
    # The index is a level higher.
    assert all(many[ask] <= few[ask] + 6 for ask in few), costs


@pytest.mark.parametrize("holes", [0, 1])
def test_cleanup_numbers_what_is_from_before_there_were_numbers(
    unswept_bench: WorkerBench, engine: Engine, holes: int
) -> None:
    few, many = Talk.start(unswept_bench), Talk.start(unswept_bench)
    few.store_by_hand(1, 5)
    for sender in (1, 0, 1, 1):
        many.store_by_hand(sender, 1_250)
    many.send(1, 1, 0)
    if holes:
        unswept_bench.rows("DELETE FROM messages WHERE chat_id = :c AND seq = 2000", c=many.chat)
    counted = many.counted(0)
    before = cost_of_counting(many)
    backfill(engine, Pacer(60))
    assert many.numbered_after() == (2_000 if holes else 0)
    assert few.numbered_after() == 5
    after, least = cost_of_counting(many), cost_of_counting(few)
    assert many.unread(0) == many.counted(0) == counted
    assert many.unread(1) == many.counted(1)
    if not holes:
        assert all(before[ask] > 5 * after[ask] and after[ask] <= least[ask] + 6 for ask in least), (
            before,
            after,
            least,
        )


def test_numbering_continues_where_it_was_stopped_and_leaves_locked_chats_alone(
    talk: Talk, engine: Engine
) -> None:
    talk.store_by_hand(1, 2_500)
    with talk.bench.engine.begin() as conn:
        conn.execute(text("SELECT FROM chats WHERE id = :c FOR UPDATE"), {"c": talk.chat})
        backfill(engine, Pacer(60))
    assert talk.numbered_after() == 2_500
    backfill(engine, Pacer(0))
    assert talk.numbered_after() == 2_500
    backfill(engine, Pacer(1e-9))
    backfill(engine, Pacer(60))
    assert talk.numbered_after() == 0
    assert talk.unread(0) == 2_500
    talk.send(1, 0, 1)
    assert talk.unread(0) == 2_502
    assert talk.unread(1) == 1


def test_only_what_somebody_has_not_read_is_numbered(talk: Talk, engine: Engine) -> None:
    talk.store_by_hand(1, 1_000)
    talk.read(0, 600)
    talk.read(1, 700)
    backfill(engine, Pacer(60))
    assert talk.numbered_after() == 600
