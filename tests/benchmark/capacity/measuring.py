"""Measures the unit costs in rounds."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from redis import Redis
from sqlalchemy import text

from infra.store.engine import make_engine
from infra.wire import names
from tests.benchmark import measure
from tests.benchmark.capacity.units import KINDS, Load, Message, Socket, Unit
from tests.benchmark.systems import Field, Ours

SOCKETS: Final = 2_000
PAIRS: Final = 200
OLDER: Final = 1_000_000

TOGETHER: Final = Load(1, 2_000)
GROWN: Final = Load(1, 2_000, older=OLDER)
BY_RATE: Final = tuple(Load(2, rate, apart=True) for rate in (200, 1_000, 2_000, 4_000))
LONE: Final = BY_RATE[0]
"""Most batches have one message."""
SHARED: Final = BY_RATE[-1]
"""Batches have many."""
MANY: Final = Load(4, 2_000, apart=True)
LOADS: Final = (TOGETHER, GROWN, *BY_RATE, MANY)

_WARM_UP_S: Final = 1.5
_MEASURE_S: Final = 4.0
_SETTLE_S: Final = 2.0
_NOTHING_S: Final = 8.0
_IDLE_S: Final = 25.0
"""Each socket has one heartbeat in this time."""

_CHATS: Final = 1_000
"""Older messages are in so many chats."""
_OLD_CHATS: Final = """
    INSERT INTO chats (id, user_lo, user_hi, last_seq, swept_seq, activity_at)
    SELECT gen_random_uuid(), least(a.id, b.id), greatest(a.id, b.id), :each, :each, now() - interval '1 day'
    FROM profiles a
    JOIN profiles b ON b.username = 'user' || lpad((substr(a.username, 5)::int + 1000)::text, 5, '0')
    WHERE a.username >= 'user08000' AND a.username < 'user09000'
"""
_OLD_MESSAGES: Final = """
    INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at)
    SELECT c.id, n, gen_random_uuid(), c.user_lo, c.user_hi, repeat('x', 60), c.id::text || '-' || n,
        now() - interval '1 day'
    FROM generate_series(1, CAST(:each AS int)) n, chats c
    WHERE c.activity_at < now() - interval '23 hours'
"""


def run(field: Field, say: Callable[[str], None]) -> Iterator[Unit]:
    """Measure everything once. Raises BenchmarkFailed when a message is lost, duplicated or out of order."""
    with field.running("ours", edges=1) as system:
        assert isinstance(system, Ours)
        say("sockets")
        yield _sockets(field, system)
        say("messages: 1 edge")
        yield _messages(field, system, TOGETHER)
        say(f"messages: 1 edge, {OLDER:,} older messages")
        _fill(system)
        yield _messages(field, system, GROWN)
    for loads in (BY_RATE, (MANY,)):
        with field.running("ours", edges=loads[0].edges) as system:
            assert isinstance(system, Ours)
            for load in loads:
                say(f"messages: {load.edges} edges, {load.rate:,}/s")
                yield _messages(field, system, load)


def _messages(field: Field, system: Ours, load: Load) -> Message:
    """Return what a message costs under a load."""
    with Redis.from_url(system.store.redis_url) as redis:
        cost = measure.run(
            field,
            system,
            2 * PAIRS,
            probe=lambda: _probe(system, redis),
            rate=load.rate,
            apart=load.apart,
            warm_up_s=_WARM_UP_S,
            measure_s=_MEASURE_S,
        )
        entry_bytes = _entry_bytes(redis)
    result = cost.result
    return Message(
        load=load,
        # Seconds for a thousand messages are milliseconds for one.
        cpu_ms={kind: cost.cpu_s[kind] for kind in KINDS},
        client_in=round(result.bytes_up / result.sent),
        client_out=round(result.bytes_down / result.sent),
        entry_bytes=round(entry_bytes),
        ack_p99_ms=result.ack.p99,
        **{name: round(value) for name, value in cost.probed.items()},
    )


def _probe(system: Ours, redis: Any) -> dict[str, float]:
    """Return counters of Redis and Postgres."""
    stats = redis.info("stats")
    [[wal, stored]] = system.rows(
        "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'), pg_total_relation_size('messages')"
    )
    return {
        "redis_in": stats["total_net_input_bytes"],
        "redis_out": stats["total_net_output_bytes"],
        "wal": float(wal),
        "stored": float(stored),
    }


def _entry_bytes(redis: Any) -> float:
    """Return the memory of the streams of all edges, divided by their entries."""
    streams = list(redis.scan_iter(names.inbox_key("*")))
    size = sum(redis.memory_usage(stream, samples=0) for stream in streams)
    return float(size / sum(redis.xlen(stream) for stream in streams))


def _sockets(field: Field, system: Ours) -> Socket:
    """Return what connecting and being idle cost, beyond what an edge without clients costs."""

    def during(seconds: float) -> dict[str, float]:
        """Wait, and return the CPU-seconds of each second."""
        began, before = time.monotonic(), measure.cpu_times(field, system)
        time.sleep(seconds)
        spent = measure.spent_s(before, measure.cpu_times(field, system))
        return {kind: spent[kind] / (time.monotonic() - began) for kind in KINDS}

    # The first connections pay for what is made once.
    with measure.connected(measure.make_spec(system, 20)):
        time.sleep(_SETTLE_S)
    nothing = during(_NOTHING_S)
    edge_kb, redis_bytes = measure.memory_kb(system, "edge"), _redis_bytes(system)
    spec = measure.make_spec(system, SOCKETS)
    began, before = time.monotonic(), measure.cpu_times(field, system)
    with measure.connected(spec) as (_, found):
        time.sleep(_SETTLE_S)
        spent = measure.spent_s(before, measure.cpu_times(field, system))
        took_s = time.monotonic() - began
        idle = during(_IDLE_S)
        return Socket(
            sockets=SOCKETS,
            connect_ms={
                kind: round((spent[kind] - nothing[kind] * took_s) / SOCKETS * 1e3, 4) for kind in KINDS
            },
            connect_in=round(found.bytes_up / SOCKETS),
            connect_out=round(found.bytes_down / SOCKETS),
            idle_us={kind: round((idle[kind] - nothing[kind]) / SOCKETS * 1e6, 3) for kind in KINDS},
            edge_kb=round((measure.memory_kb(system, "edge") - edge_kb) / SOCKETS, 2),
            redis_bytes=round((_redis_bytes(system) - redis_bytes) / SOCKETS),
        )


def _redis_bytes(system: Ours) -> float:
    with Redis.from_url(system.store.redis_url) as redis:
        memory: Any = redis.info("memory")
        return float(memory["used_memory"])


def _fill(system: Ours) -> None:
    """Store older messages in chats of other users."""
    engine = make_engine(system.store.database_url, timeouts=False)
    with engine.begin() as conn:
        conn.execute(text(_OLD_CHATS), {"each": OLDER // _CHATS})
        conn.execute(text(_OLD_MESSAGES), {"each": OLDER // _CHATS})
        conn.execute(text("ANALYZE messages"))
    with engine.begin() as conn:
        conn.execute(text("CHECKPOINT"))
    engine.dispose()
