"""What statements cost: buffers of Postgres, which do not depend on how fast the machine is."""

from collections.abc import Callable

from tests.harness.worker_bench import WorkerBench

_BUFFERS = """
    SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0)::int FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND query LIKE '%' || :part || '%' AND query NOT LIKE '%pg_stat_statements%'
"""


def cost(bench: WorkerBench, part: str, ask: Callable[[], object]) -> int:
    """Return how many buffers the statements take in which a text occurs, when asked a second time."""
    bench.rows("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    ask()
    ((before,),) = bench.rows(_BUFFERS, part=part)
    ask()
    ((after,),) = bench.rows(_BUFFERS, part=part)
    return int(after - before)
