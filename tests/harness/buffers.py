"""What statements cost: buffers of Postgres, which do not depend on how fast the machine is."""

from collections.abc import Callable

from tests.harness.worker_bench import WorkerBench

ALL = ""
"""Occurs in every statement."""

_BUFFERS = """
    SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0)::int
    FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND EXISTS (SELECT FROM unnest(CAST(:parts AS text[])) part WHERE position(part IN query) > 0)
        AND position('pg_stat_statements' IN query) = 0
"""


def start_counting(bench: WorkerBench) -> None:
    """Forget all statements so far: every look at thousands of them would take long."""
    bench.rows("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    bench.rows("SELECT pg_stat_statements_reset()")


def buffers(bench: WorkerBench, *parts: str) -> int:
    """Return how many buffers statements have taken in which one of these texts occurs."""
    ((taken,),) = bench.rows(_BUFFERS, parts=[*parts])
    return int(taken)


def cost(bench: WorkerBench, part: str, ask: Callable[[], object]) -> int:
    """Return how many buffers the statements take in which a text occurs, when asked a second time."""
    ask()
    start_counting(bench)
    ask()
    return buffers(bench, part)
