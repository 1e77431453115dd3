"""Sends that wait for each other's chat: no hole, no duplicate, and the first answer for the same message."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from infra.wire.batch import Event
from tests.harness.waiting import eventually
from tests.harness.worker_bench import Reply, WorkerBench
from tests.integration.conftest import BenchFactory

_WAITING = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%WITH routed%'
"""
_MEANWHILE = (
    """
    INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at)
    SELECT chat_id, 2, gen_random_uuid(), sender_id, recipient_id, 'meanwhile', 'meanwhile', now()
    FROM messages WHERE chat_id = :id AND seq = 1
    """,
    "UPDATE chats SET last_seq = 2, last_to_lo = 2, last_to_hi = 2 WHERE id = :id",
)
"""What another worker stores, and commits together with its lock."""


@contextmanager
def waiting(bench: WorkerBench, chat_id: str, ask: Callable[[], Reply]) -> Iterator[Future[Reply]]:
    """Have `ask` wait for the chat for as long as the block takes."""
    with ThreadPoolExecutor(1) as thread:
        with bench.engine.begin() as holder:
            holder.execute(text("SELECT 1 FROM chats WHERE id = :id FOR UPDATE"), {"id": chat_id})
            reply = thread.submit(ask)
            eventually(lambda: bool(bench.rows(_WAITING)), "the send waits for the lock")
            for statement in _MEANWHILE:
                holder.execute(text(statement), {"id": chat_id})
        yield reply


def texts(bench: WorkerBench, chat_id: str) -> list[str]:
    return [
        row.text
        for row in bench.rows("SELECT text FROM messages WHERE chat_id = :id ORDER BY seq", id=chat_id)
    ]


def start(bench: WorkerBench) -> tuple[str, Callable[..., Event]]:
    (alice, _), (_, bobs_name) = bench.people("alice", "bob")
    chat_id = bench.open_chat(alice, bobs_name)
    return chat_id, lambda words, **more: bench.send(alice, bobs_name, words, **more)


def test_a_send_goes_behind_what_was_stored_while_it_waited(bench: WorkerBench) -> None:
    chat_id, send = start(bench)
    sends = [send("third"), send("fourth")]
    with waiting(bench, chat_id, lambda: bench.ask(*sends)) as reply:
        acks = [reply.result().ack(one)["message"] for one in sends]
    assert [ack["seq"] for ack in acks] == [3, 4]
    assert bench.seqs(chat_id) == [1, 2, 3, 4]
    assert texts(bench, chat_id) == ["hello", "meanwhile", "third", "fourth"]


def test_a_send_that_another_worker_stored_while_it_waited_gets_that_answer(bench: WorkerBench) -> None:
    chat_id, send = start(bench)
    again, other = send("meanwhile", clientId="meanwhile"), send("third")
    with waiting(bench, chat_id, lambda: bench.ask(again, other)) as reply:
        assert reply.result().ack(again)["message"]["seq"] == 2
        assert reply.result().ack(other)["message"]["seq"] == 3
    assert texts(bench, chat_id) == ["hello", "meanwhile", "third"]


@pytest.mark.parametrize("same", [True, False], ids=["the same batch", "batches of their own"])
def test_many_workers_at_once_leave_no_hole_and_no_duplicate(make_bench: BenchFactory, same: bool) -> None:
    workers, rounds, size = 4, 10, 20
    benches = [make_bench() for _ in range(workers)]
    chat_id, send = start(benches[0])
    acked: list[dict[str, int]] = [{} for _ in benches]
    together = threading.Barrier(workers)

    def work(number: int) -> None:
        for turn in range(rounds):
            who = 0 if same else number
            sends = [send("x", clientId=f"{who}-{turn}-{place}") for place in range(size)]
            together.wait()
            reply = benches[number].ask(*sends)
            for one in sends:
                message = reply.ack(one)["message"]
                acked[number][message["clientId"]] = message["seq"]

    with ThreadPoolExecutor(workers) as threads:
        for done in [threads.submit(work, number) for number in range(workers)]:
            done.result()
    stored = rounds * size * (1 if same else workers)
    assert benches[0].seqs(chat_id) == list(range(1, stored + 2))
    for seqs in acked:
        assert list(seqs.values()) == sorted(seqs.values())
    assert len({seq for seqs in acked for seq in seqs.values()}) == stored
