"""The app's own backend has users erased: they are deleted at once, and a function does the rest."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from infra.wire import names
from infra.wire.batch import Event
from infra.wire.errors import ErrorCode
from infra.wire.server_api import NOBODY
from tests.harness.worker_bench import Reply, WorkerBench


@pytest.fixture
def alice(bench: WorkerBench) -> uuid.UUID:
    """A user who is connected. Nobody was erased yet."""
    bench.rows("DELETE FROM erasures")
    ((alice, _),) = bench.people("alice")
    bench.connect(alice)
    return alice


def asking(bench: WorkerBench, user_id: uuid.UUID, mode: str = "delete") -> Event:
    return bench.event(uuid.UUID(NOBODY), "erase_user", {"userId": str(user_id), "mode": mode})


def erase(bench: WorkerBench, user_id: uuid.UUID, mode: str = "delete") -> tuple[Any, Reply]:
    """Ask for an erasure; return what is told of it, and the whole reply."""
    event = asking(bench, user_id, mode)
    reply = bench.ask(event)
    return reply.ack(event)["erasure"], reply


def finish(bench: WorkerBench) -> None:
    bench.rows("UPDATE erasures SET finished_at = now(), step = 'redis', place = 'x'")


def test_the_user_is_deleted_and_signed_out_and_the_wish_is_kept(
    bench: WorkerBench, alice: uuid.UUID
) -> None:
    told, reply = erase(bench, alice)
    (row,) = bench.rows("SELECT * FROM erasures")
    assert (row.user_id, row.mode, row.step, row.finished_at) == (alice, "delete", "name", None)
    assert (told["userId"], told["mode"], told["finishedAt"]) == (str(alice), "delete", None)
    assert told["requestedAt"]
    assert "manifest" not in told
    (profile,) = bench.rows("SELECT * FROM profiles WHERE id = :id", id=alice)
    assert (profile.username, profile.deleted_at is None) == ("Deleted user", False)
    (emit,) = reply.emits
    assert [target.user_id for target in emit.to] == [str(alice)]
    assert emit.signed_out_ms == int(bench.redis.get(names.signed_out_key(str(alice))) or 0)


def test_asking_again_changes_nothing_and_tells_how_far_it_is(bench: WorkerBench, alice: uuid.UUID) -> None:
    first, _ = erase(bench, alice)
    before = bench.rows("SELECT * FROM erasures")
    assert erase(bench, alice)[0] == first
    assert bench.rows("SELECT * FROM erasures") == before
    finish(bench)
    told, reply = erase(bench, alice)
    assert told["finishedAt"]
    assert reply.emits == []
    assert bench.rows("SELECT started_at FROM erasures") == [(before[0].started_at,)]


def test_messages_can_be_erased_after_they_were_anonymised_but_not_the_other_way(
    bench: WorkerBench, alice: uuid.UUID
) -> None:
    erase(bench, alice, "anonymise")
    finish(bench)
    told, _ = erase(bench, alice)
    assert (told["mode"], told["finishedAt"]) == ("delete", None)
    assert bench.rows("SELECT step, place FROM erasures") == [("name", None)]
    event = asking(bench, alice, "anonymise")
    assert bench.ask(event).failure(event).code == ErrorCode.NOT_ALLOWED
    assert bench.rows("SELECT mode FROM erasures") == [("delete",)]


def test_a_user_who_has_come_back_since_is_erased_anew(bench: WorkerBench, alice: uuid.UUID) -> None:
    erase(bench, alice)
    finish(bench)
    bench.rows("SELECT put_profile(:id, :name)", id=alice, name=f"alice {alice.hex[-8:]}")
    told, _ = erase(bench, alice)
    assert told["finishedAt"] is None
    assert bench.rows("SELECT FROM profiles WHERE id = :id AND deleted_at IS NOT NULL", id=alice)


def test_a_user_of_whom_nothing_is_known_is_none(bench: WorkerBench, alice: uuid.UUID) -> None:
    event = asking(bench, uuid.uuid4())
    assert bench.ask(event).failure(event).code == ErrorCode.USER_NOT_FOUND
    assert bench.rows("SELECT FROM erasures") == []


@pytest.mark.parametrize("name", ["erase_user", "export_user"])
def test_what_the_backend_has_sent_in_vain_is_no_users(
    bench: WorkerBench, alice: uuid.UUID, name: str
) -> None:
    bench.rows(
        "INSERT INTO dead_letters (id, event, user_id, payload, error)"
        " VALUES (gen_random_uuid(), 'put_user', :nobody, '{}', 'boom')",
        nobody=NOBODY,
    )
    event = bench.event(uuid.UUID(NOBODY), name, {"userId": NOBODY, "mode": "delete"})
    assert bench.ask(event).failure(event).code == ErrorCode.USER_NOT_FOUND


def test_several_in_a_batch_are_answered_each(bench: WorkerBench, alice: uuid.UUID) -> None:
    ((bob, _),) = bench.people("bob")
    events = [asking(bench, one, mode) for one in (alice, bob) for mode in ("delete", "anonymise")]
    events.append(asking(bench, uuid.uuid4()))
    reply = bench.ask(*events)
    assert [reply.ack(event)["erasure"]["userId"] for event in events[::2][:2]] == [str(alice), str(bob)]
    codes = [reply.failure(event).code for event in (events[1], events[3], events[4])]
    assert codes == [ErrorCode.NOT_ALLOWED, ErrorCode.NOT_ALLOWED, ErrorCode.USER_NOT_FOUND]


def test_two_batches_with_the_same_users_do_not_lock_each_other_out(
    bench: WorkerBench, alice: uuid.UUID
) -> None:
    ((bob, _),) = bench.people("bob")
    first, second = sorted((alice, bob))
    with ThreadPoolExecutor(1) as pool, bench.engine.begin() as conn:
        conn.execute(text("SELECT FROM profiles WHERE id = :id FOR UPDATE"), {"id": first})
        asked = pool.submit(bench.ask, asking(bench, second), asking(bench, first))
        while not bench.rows("SELECT FROM pg_locks WHERE NOT granted"):
            assert not asked.done()
        # The other batch, which has the first one, takes the second one.
        conn.execute(text("SET LOCAL lock_timeout = '100ms'"))
        conn.execute(text("SELECT FROM profiles WHERE id = :id FOR UPDATE"), {"id": second})
    assert len(asked.result().answers) == 2
