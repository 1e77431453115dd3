"""The checker notices every broken promise, and the clients record it."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import Any

import pytest
import socketio
from aiohttp import web

from tests.faults.checker import Counts, check, recovery_s
from tests.faults.clients import FaultClient
from tests.faults.records import Asked, Delivered, Records, Sent, Stored
from tests.faults.wanted import Try
from tests.harness.engines import free_port
from tests.harness.waiting import PATIENCE_S

GOOD = Counts(*(0 for _ in fields(Counts)))


def run_of_three() -> Records:
    """Return the records of a run in which nothing went wrong."""
    records = Records(healed_at=0.0, ended_at=100.0, last_seqs={"chat": 3})
    records.watermarks = {("chat", "alice"): (0, 0), ("chat", "bob"): (3, 2)}
    records.asked.append(Asked("bob", "mark_as_read", Try(1, 4.0, 4.5, "ok"), "chat", 2))
    for number in (1, 2, 3):
        attempt = Try(connection=1, sent_at=number, ended_at=number + 0.5, code="ok")
        records.sent.append(Sent("alice", "bob", f"text {number}", [attempt], f"id {number}"))
        records.stored.append(Stored(f"id {number}", "chat", number, "alice", "bob", f"text {number}"))
        records.delivered.append(Delivered("bob", 1, f"id {number}", number + 0.6))
    return records


def test_a_good_run_is_good() -> None:
    counts = check(run_of_three())
    assert counts == GOOD
    assert not counts.broken


def test_a_lost_message_is_noticed() -> None:
    records = run_of_three()
    records.stored[1] = replace(records.stored[1], id="id 4")
    counts = check(records)
    assert counts == replace(GOOD, lost=1, undelivered=1)
    assert counts.broken == {"lost": 1, "undelivered": 1}


@pytest.mark.parametrize("change", [{"text": "text 4"}, {"sender": "carol"}])
def test_a_message_that_was_stored_as_another_is_noticed(change: dict[str, Any]) -> None:
    records = run_of_three()
    records.stored[1] = replace(records.stored[1], **change)
    assert check(records).lost == 1


def test_a_message_stored_twice_is_noticed() -> None:
    records = run_of_three()
    records.stored.append(Stored("id 4", "chat", 4, "alice", "bob", "text 3"))
    records.last_seqs["chat"] = 4
    records.watermarks["chat", "bob"] = (4, 2)
    records.delivered.append(Delivered("bob", 1, "id 4", 5.0))
    assert check(records) == replace(GOOD, stored_twice=1)


def test_a_message_delivered_twice_on_one_connection_is_noticed() -> None:
    records = run_of_three()
    records.delivered.append(records.delivered[0])
    assert check(records) == replace(GOOD, delivered_twice=1)


def test_a_message_that_comes_again_on_another_connection_is_allowed() -> None:
    records = run_of_three()
    records.delivered.append(replace(records.delivered[0], connection=2))
    assert check(records) == GOOD


def test_a_message_that_is_refused_finally_is_noticed() -> None:
    records = run_of_three()
    records.sent.append(Sent("alice", "bob", "text 4", [Try(1, 4.0, 4.5, "internal")]))
    assert check(records) == replace(GOOD, refused=1)
    records.sent[-1].is_poison = True
    assert check(records) == GOOD
    records.asked.append(Asked("bob", "sync", Try(1, 4.0, 4.5, "not_a_member")))
    assert check(records) == replace(GOOD, refused=1)


def test_a_hole_is_noticed() -> None:
    records = run_of_three()
    records.stored[2] = replace(records.stored[2], seq=4)
    records.last_seqs["chat"] = 4
    records.watermarks["chat", "bob"] = (4, 2)
    assert check(records) == replace(GOOD, holes=1)


def test_a_hole_at_the_end_is_noticed() -> None:
    records = run_of_three()
    records.last_seqs["chat"] = 4
    assert check(records) == replace(GOOD, holes=1)
    records.last_seqs["empty chat"] = 1
    assert check(records) == replace(GOOD, holes=2)


def test_a_reordered_message_is_noticed() -> None:
    records = run_of_three()
    records.stored[0], records.stored[1] = (
        replace(records.stored[0], seq=2),
        replace(records.stored[1], seq=1),
    )
    assert check(records) == replace(GOOD, reordered=1)


def test_a_request_without_an_answer_is_noticed() -> None:
    records = run_of_three()
    records.sent.append(Sent("alice", "bob", "text 4", [Try(1, 50.0)]))
    assert check(records) == replace(GOOD, unanswered=1)
    records.asked.append(Asked("bob", "list_chats", Try(1, 50.0, 61.5, "timeout")))
    assert check(records) == replace(GOOD, unanswered=2)


def test_a_message_that_does_not_arrive_is_noticed() -> None:
    records = run_of_three()
    del records.delivered[1]
    assert check(records) == replace(GOOD, undelivered=1)


def test_a_message_that_arrives_too_late_is_noticed() -> None:
    records = run_of_three()
    records.delivered[1] = replace(records.delivered[1], at=20.0)
    assert check(records) == replace(GOOD, late=1)
    records.healed_at = 10.0
    assert check(records) == GOOD


@pytest.mark.parametrize("watermarks", [(2, 2), (3, 1), (3, 3), (0, 0)])
def test_a_wrong_watermark_is_noticed(watermarks: tuple[int, int]) -> None:
    records = run_of_three()
    records.watermarks["chat", "bob"] = watermarks
    assert check(records) == replace(GOOD, watermarks=1)


def test_a_read_without_an_answer_may_have_happened_or_not() -> None:
    records = run_of_three()
    records.asked.append(Asked("bob", "mark_as_read", Try(1, 5.0, 5.5, "cut"), "chat", 3))
    assert check(records) == GOOD
    records.watermarks["chat", "bob"] = (3, 3)
    assert check(records) == GOOD


def test_recovery_is_when_the_last_sender_is_served_again() -> None:
    records = run_of_three()
    records.healed_at = 2.0
    records.sent.append(Sent("bob", "alice", "text 4", [Try(1, 1.0, 6.0, "ok")], "id 4"))
    assert recovery_s(records) == 4.0


@pytest.fixture
async def careless() -> AsyncIterator[str]:
    """A server that forgets "lost", delivers "doubled" twice and never answers "silent"."""
    sio = socketio.AsyncServer(async_mode="aiohttp")
    seqs = iter(range(1, 100))

    async def greet(sid: str, *_: Any) -> None:
        sio.start_background_task(sio.emit, "test_message", to=sid)

    async def send(sid: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        text = payload["text"]
        message = {"id": f"id of {text}", "chatId": "chat", "seq": next(seqs), "text": text}
        message |= {"senderId": "sender", "recipientId": "recipient"}
        if text == "silent":
            await asyncio.Event().wait()
        for _ in range({"lost": 0, "doubled": 2}.get(text, 1)):
            await sio.emit("new_message", message, skip_sid=sid)
        return {"success": True, "message": message}

    sio.on("connect", greet)
    sio.on("send_message", send)
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await sio.shutdown()
    await runner.cleanup()


async def test_what_clients_record_of_a_careless_server_is_noticed(careless: str) -> None:
    records = Records()
    alice, bob = (FaultClient(name, [careless], str, records) for name in ("alice", "bob"))
    await asyncio.gather(alice.start(), bob.start())
    for text in ("lost", "doubled", "good"):
        await alice.send(bob, text)
    await bob.wait_got({"id of doubled", "id of good"})
    silent = asyncio.create_task(alice.send(bob, "silent"))
    async with asyncio.timeout(PATIENCE_S):
        while len(records.sent) < 4:
            await asyncio.sleep(0)
    records.ended_at = time.monotonic() + 12
    records.stored = [
        Stored(f"id of {text}", "chat", seq, alice.user_id, bob.user_id, text)
        for seq, text in ((2, "doubled"), (3, "good"))
    ]
    records.last_seqs = {"chat": 3}
    records.watermarks = {("chat", bob.user_id): (3, 0)}
    assert check(records) == replace(GOOD, lost=1, delivered_twice=1, holes=1, unanswered=1)
    silent.cancel()
    await asyncio.gather(alice.stop(), bob.stop())
