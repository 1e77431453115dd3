"""The faults, by name. Each breaks something while messages flow, mends it, and says when that was."""

import asyncio
import itertools
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
from cryptography.hazmat.primitives.asymmetric import ec
from redis import OutOfMemoryError, ReadOnlyError, Redis, RedisError

from infra.local.engines.engine import Engine
from infra.wire import names
from tests.faults import chores
from tests.faults.clients import FaultClient
from tests.faults.field import Field, supervised
from tests.faults.records import Try
from tests.harness.deployment import Edge
from tests.harness.engines import free_port

Strike = Callable[[Field], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """What is done to a running chat, and what is promised all the same."""

    name: str
    promise: str
    strike: Strike
    settings: dict[str, object] = field(default_factory=dict)
    """Of edges, workers and beat."""
    worker: dict[str, str] = field(default_factory=dict)
    """Environment variables of the workers that run at the start."""
    recovery_s: float | None = None
    """How soon after the repair everybody must be served again."""
    at_once: bool = False
    """Whether it strikes with the first message; else when a part of them is acked."""
    needs_disk: bool = False
    """Whether Postgres has to live on a small file system."""


FAULTS: Final[dict[str, Fault]] = {}


def _fault(name: str, promise: str, **more: Any) -> Callable[[Strike], Strike]:
    def add(strike: Strike) -> Strike:
        FAULTS[name] = Fault(name, promise, strike, **more)
        return strike

    return add


def _point(name: str, **more: str) -> dict[str, str]:
    return {"FAULT_POINT": name, "FAULT_AFTER": "25", **more}


_BEFORE_COMMIT: Final = _point("before_commit", BBGRAM_DATABASE_POOLED="true")
_COOLDOWN_S: Final = 2.0
_OUTAGE_S: Final = 12.0
"""Longer than the deadline of a request."""
_PACE_S: Final = 5.0
"""How long the pace of chats is measured before one of them is locked."""
_SWEPT_S: Final = 16.0
"""The sweep looks for a message when it is 10 s old, every 5 s, and then it is delivered."""
_KILLED: Final = "nothing acked lost, nothing doubled, nobody waits past the deadline"
_RESUMED: Final = "clients resume on the other edge"
_REDIS: Final = "answers by the deadline, service back within 10 s after Redis is"
_POSTGRES: Final = "no false ack, the backlog drains"
_REACHED: Final = "delivered within 15 s"


async def _let_points_strike(field: Field, point: dict[str, str]) -> None:
    """Replace workers that have killed themselves by more of the kind, six times, and then by sound ones."""
    again = [{**point, "FAULT_AFTER": str(after)} for after in (15, 40, 25, 60)]
    async with supervised(field, again):
        while field.kills < 6:
            await asyncio.sleep(0.1)
    field.notes.append(f"{field.kills} kills")


@_fault("worker killed before commit", _KILLED, worker=_BEFORE_COMMIT, at_once=True)
async def _before_commit(field: Field) -> None:
    await _let_points_strike(field, _BEFORE_COMMIT)
    field.healed()


@_fault("worker killed after commit", _KILLED, worker=_point("after_commit"), at_once=True)
async def _after_commit(field: Field) -> None:
    await _let_points_strike(field, _point("after_commit"))
    field.healed()


@_fault("worker killed after publication", _KILLED, worker=_point("after_publication"), at_once=True)
async def _after_publication(field: Field) -> None:
    await _let_points_strike(field, _point("after_publication"))
    field.healed()


@_fault("workers killed at random", _KILLED)
async def _random_kills(field: Field) -> None:
    chance = random.Random(5)
    async with supervised(field, []):
        for _ in range(6):
            await asyncio.sleep(chance.uniform(0.2, 1.0))
            chance.choice(field.chat.workers).process.kill()
        await asyncio.sleep(0.5)
    field.expect(field.kills >= 5, "fewer than five kills")
    field.notes.append(f"{field.kills} kills")
    field.healed()


@_fault("edge killed", _RESUMED, recovery_s=5.0)
async def _edge_killed(field: Field) -> None:
    edge = field.chat.edges[0]
    edge.kill()
    field.healed()
    await asyncio.sleep(2)
    await field.restart_edge(edge)


@_fault(
    "rolling restart under load",
    "SIGTERM drains: what an edge or a worker has taken is answered",
    # No batch is sent a second time: if a worker drops one, its requests get `timeout`.
    settings={"redispatch_s": 9.99},
)
async def _rolling(field: Field) -> None:
    sent, asked = len(field.records.sent), len(field.records.asked)
    await _stop_worker_in_a_batch(field)
    await field.replace_workers()
    taken = []
    for edge in list(field.chat.edges):
        taken += await _stop_edge_with_requests(field, edge)
        await field.restart_edge(edge)
    field.healed()
    tries = [one for message in field.records.sent[sent:] for one in message.tries]
    tries += [one.attempt for one in field.records.asked[asked:]]
    codes = Counter(one.code for one in tries)
    lost = [one.code for one in taken if one.code != "ok"]
    field.notes.append(
        f"{len(taken)} requests were inside when an edge got SIGTERM, {codes['cut']} came after"
    )
    field.expect(not lost, f"{len(lost)} requests were taken and not answered")
    field.expect(codes.keys() <= {"ok", "cut", None}, f"requests failed: {codes}")


async def _stop_worker_in_a_batch(field: Field) -> None:
    """Ask one more worker to stop while it holds a batch that is committed and not published."""
    worker = field.start_worker(_point("stopping"))
    async with asyncio.timeout(30):
        while "a batch is held" not in worker.log:
            await asyncio.sleep(0.05)
    await asyncio.to_thread(worker.stop)
    field.chat.workers.remove(worker)
    field.expect(worker.process.returncode == 0, f"the worker ended with {worker.process.returncode}")


async def _stop_edge_with_requests(field: Field, edge: Edge) -> list[Try]:
    """Ask an edge to stop while workers stand still; return what it had taken and not answered."""
    clients = [client for client in field.clients if client.is_connected and client.url == edge.url]
    with ExitStack() as paused:
        for worker in field.chat.workers:
            paused.enter_context(worker.paused())
        async with asyncio.timeout(5):
            taken = await asyncio.gather(*(client.taken() for client in clients))
            edge.process.send_signal(signal.SIGTERM)
            await _refused(edge)
    await asyncio.to_thread(edge.stop)
    return [one for some in taken for one in some]


async def _refused(edge: Edge) -> None:
    """Wait until an edge takes no connections any more."""
    with suppress(ConnectionRefusedError):
        while True:
            _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.close()
            await asyncio.sleep(0.02)


@_fault("Redis killed and started again", _REDIS, recovery_s=10.0)
async def _redis_killed(field: Field) -> None:
    await _kill_and_start(field, field.engines.valkey)


async def _kill_and_start(field: Field, engine: Engine) -> None:
    engine.kill()
    await asyncio.sleep(_OUTAGE_S)
    engine.start()
    await asyncio.to_thread(engine.wait_ready)
    field.healed()


@_fault("Redis flushed", _REDIS, recovery_s=10.0)
async def _redis_flushed(field: Field) -> None:
    with field.redis as redis:
        for _ in range(3):
            redis.flushall()
            field.healed()
            await asyncio.sleep(2)


@_fault("Redis stopped for 60 s", _REDIS, recovery_s=10.0)
async def _redis_frozen(field: Field) -> None:
    pid = field.engines.valkey.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(60)
    finally:
        os.kill(pid, signal.SIGCONT)
    field.healed()


@_fault("Redis is full", _REDIS, recovery_s=10.0)
async def _redis_full(field: Field) -> None:
    with field.redis as redis:
        redis.config_set("maxmemory", 1)
        _expect_refusal(field, redis, OutOfMemoryError)
        await asyncio.sleep(_OUTAGE_S)
        redis.config_set("maxmemory", 0)
    field.healed()


def _expect_refusal(field: Field, redis: Redis, error: type[RedisError]) -> None:
    try:
        redis.set("faults:probe", "x")
    except error:
        return
    field.expect(False, "Redis took a write")


@_fault("Redis is a read-only replica", _REDIS, recovery_s=10.0)
async def _redis_read_only(field: Field) -> None:
    with field.redis as redis:
        redis.replicaof("127.0.0.1", str(free_port()))
        _expect_refusal(field, redis, ReadOnlyError)
        await asyncio.sleep(_OUTAGE_S)
        redis.replicaof("NO", "ONE")
    field.healed()


@_fault("Postgres killed and started again", _POSTGRES, recovery_s=10.0)
async def _postgres_killed(field: Field) -> None:
    await _kill_and_start(field, field.engines.postgres)


@_fault("all connections to Postgres cut", _POSTGRES, recovery_s=10.0)
async def _postgres_cut(field: Field) -> None:
    for _ in range(8):
        with _admin(field) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        field.healed()
        await asyncio.sleep(0.4)


@_fault("disk of Postgres full", _POSTGRES, recovery_s=10.0, needs_disk=True)
async def _disk_full(field: Field) -> None:
    field.disk.fill()
    try:
        with suppress(psycopg.OperationalError), _admin(field) as conn:
            conn.execute("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
            field.expect(False, "Postgres could write")
        await asyncio.sleep(_OUTAGE_S)
    finally:
        field.disk.clear()
    if field.engines.postgres.pid is None or not field.engines.postgres.is_ready():
        field.notes.append("Postgres had stopped")
        field.engines.postgres.kill()
        field.engines.postgres.prepare()
        field.engines.postgres.start()
        await asyncio.to_thread(field.engines.postgres.wait_ready)
    field.healed()


@_fault("a chat locked for 30 s", "each other chat goes on, together at a quarter of their pace at least")
async def _chat_locked(field: Field) -> None:
    held, pairs = field.clients[0], list(zip(field.clients[2::2], field.clients[3::2], strict=True))
    before = sum(await _acks_within(field, pairs, _PACE_S)) / _PACE_S
    with _admin(field) as conn, conn.transaction():
        conn.execute("SELECT 1 FROM chats WHERE %s IN (user_lo, user_hi) FOR UPDATE", (held.user_id,))
        acks = await _acks_within(field, pairs, 30)
    field.healed()
    share = sum(acks) / 30 / before
    field.notes.append(
        f"other chats kept {share:.0%} of {before:.0f} messages/s, the slowest had {min(acks)} acks"
    )
    field.expect(min(acks) > 0, "a chat stood still")
    field.expect(share >= 0.25, "other chats kept less than a quarter of their pace")


async def _acks_within(field: Field, pairs: Sequence[Sequence[FaultClient]], seconds: float) -> list[int]:
    """Return how many messages of each pair are acked in that time."""
    before = [field.acked_of(pair) for pair in pairs]
    await asyncio.sleep(seconds)
    return [field.acked_of(pair) - acks for pair, acks in zip(pairs, before, strict=True)]


@_fault("inbox connections cut", _REACHED)
async def _inbox_cut(field: Field) -> None:
    killed = 0
    with field.redis as redis:
        for _ in range(5):
            for client in redis.client_list():
                if client["cmd"] == "xread":
                    killed += redis.client_kill_filter(_id=client["id"])
            field.healed()
            await asyncio.sleep(0.7)
    field.expect(killed >= 5, f"only {killed} connections were cut")


@_fault("inbox streams deleted", _REACHED)
async def _inbox_deleted(field: Field) -> None:
    with field.redis as redis:
        for _ in range(3):
            async with asyncio.timeout(15):
                while len(inboxes := redis.keys(names.inbox_key("*"))) < len(field.chat.edges):
                    await asyncio.sleep(0.1)
            redis.delete(*inboxes)
            field.healed()
            await asyncio.sleep(2)


@_fault("clock of a worker two hours ahead", "order by seq, no doubles, no early expiry")
async def _wrong_clock(field: Field) -> None:
    wrong = {"LD_PRELOAD": str(_faketime()), "FAKETIME": "+2h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    await field.replace_worker(field.chat.workers[0], {**wrong, **_point("lost_publication")})
    before = len(field.records.sent)
    right, wrong_one = field.chat.workers
    libraries = psutil.Process(wrong_one.process.pid).memory_maps()
    field.expect(any("libfaketime" in one.path for one in libraries), "the clock was right")
    await asyncio.sleep(4)
    alice, bob = field.add("alone0", "alone1")
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.to_thread(right.stop)
    field.chat.workers.remove(right)
    await _wait_swept(field, alice, bob)
    field.start_worker()
    codes = {one.code for sent in field.records.sent[before:] for one in sent.tries}
    field.expect(codes <= {"ok", None}, f"requests failed: {codes}")
    field.healed()


async def _wait_swept(field: Field, alice: FaultClient, bob: FaultClient) -> None:
    """Have a message stored that is not published, and wait until the only worker has swept it."""
    before = field.acked_of(field.clients)
    sent = await alice.send(bob, "unpublished")
    acked_at = time.monotonic()
    with suppress(TimeoutError):
        async with asyncio.timeout(_SWEPT_S):
            await bob.wait_got({str(sent.message_id)})
    took_s = time.monotonic() - acked_at
    acks = field.acked_of(field.clients) - before
    field.notes.append(f"alone, it handled {acks} messages and swept a lost one after {took_s:.1f} s")
    field.expect(took_s > 5, "the message was not lost")
    field.expect(took_s < _SWEPT_S, "it was not swept")


def _faketime() -> Path:
    """Return the library that makes a process believe in another time."""
    for library in Path("/usr/lib").glob("*/faketime/libfaketime.so.1"):
        return library
    raise FileNotFoundError("libfaketime was not found: install the package faketime")


@_fault(
    "a handler and a row that always fail",
    "only these messages fail; dead letters are kept, shown and replayed",
    worker=_point("failing_handler"),
)
async def _poison(field: Field) -> None:
    with _admin(field) as conn:
        conn.execute(_UNWRITABLE)
        texts = [f"{kind} {number}" for kind in ("failing", "unwritable") for number in range(10)]
        senders = itertools.cycle(field.clients)
        poison = await asyncio.gather(
            *(
                one.send(field.peer_of(one), text, is_poison=True)
                for one, text in zip(senders, texts, strict=False)
            )
        )
        field.expect({sent.tries[-1].code for sent in poison} == {"internal"}, "poison was not refused")
        conn.execute("DROP TRIGGER unwritable ON messages")
    await field.replace_workers()
    field.healed()
    letters = json.loads(await asyncio.to_thread(field.chat.run, "dead-letters", "list", "--json"))
    field.expect(len(letters) == len(texts), f"{len(letters)} of {len(texts)} dead letters were kept")
    await asyncio.to_thread(field.chat.run, "dead-letters", "replay", "--all")
    field.read_store()
    stored = {row.text for row in field.records.stored}
    field.expect(stored.issuperset(texts), "a replayed message is not stored")
    field.notes.append(f"{len(letters)} dead letters replayed")


_UNWRITABLE: Final = """
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.text LIKE 'unwritable%' THEN RAISE 'this row cannot be written'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER unwritable BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@_fault(
    "beat and every function twice at once",
    "who is away is notified once, what is old is removed or archived once, the chat goes on",
    settings={"sweep_s": 0.5, "sweep_after_s": 1.0, "offline_delay_s": 0},
)
async def _all_twice(field: Field) -> None:
    field.chat.start_beat()
    for _ in range(2):
        field.chat.start_functions()
    for worker in field.chat.functions:
        await field.wait_idle(worker)
    await chores.notify_twice(field)
    await chores.clean_up_twice(field)
    await chores.archive_twice(field)
    field.healed()


@_fault(
    "JWKS down, slow, garbage, key rotated",
    "known keys go on working, new ones within the cool-down",
    settings={"jwks_cooldown_s": _COOLDOWN_S},
)
async def _jwks(field: Field) -> None:
    server = field.project.server
    good = server.body
    for client in field.clients[:2]:  # has both edges know the key
        await client.reconnect()
    field.project.keys["unpublished"] = ec.generate_private_key(ec.SECP256R1())
    for status, delay_s, body in ((503, 0.0, b"down"), (200, 8.0, good), (200, 0.0, b"<html>")):
        server.status, server.delay_s, server.body = status, delay_s, body
        await asyncio.sleep(_COOLDOWN_S + 0.5)
        hits = server.hits
        strangers = [
            asyncio.create_task(field.sign_in_with("unpublished", edge)) for edge in field.chat.edges
        ]
        async with asyncio.timeout(5):
            while server.hits < hits + len(strangers):
                await asyncio.sleep(0.02)
        await asyncio.gather(*(client.reconnect() for client in field.clients[:8]))
        hang = not any(one.done() for one in strangers)
        field.expect(hang or not delay_s, "known keys were not used until the endpoint had answered")
        refusals = set(await asyncio.gather(*strangers))
        field.expect(refusals == {"unavailable"}, f"an unknown key got {refusals}")
    server.status, server.delay_s = 200, 0.0
    field.expect(not any(client.refusals for client in field.clients), "a known key was refused")
    field.project.add_key("second")
    field.kid = "second"
    field.healed()
    await asyncio.gather(*(client.reconnect() for client in field.clients[:8]))
    took_s = time.monotonic() - field.records.healed_at
    field.notes.append(f"new key accepted everywhere after {took_s:.1f} s")
    field.expect(took_s < _COOLDOWN_S + 5, "the new key was not accepted in time")


@contextmanager
def _admin(field: Field) -> Iterator[psycopg.Connection[Any]]:
    url = field.chat.store.database_url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as conn:
        yield conn
