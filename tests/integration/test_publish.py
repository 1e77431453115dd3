"""What workers write for edges stays bounded, whether anybody reads it or not."""

from infra.wire import names
from infra.wire.errors import ErrorCode
from tests.harness.worker_bench import WorkerBench
from workers.publish import _INBOX_ENTRIES

_NODE = 100
"""Redis trims whole nodes of a stream: `stream-node-max-entries`."""


def test_a_stream_that_nobody_reads_keeps_its_newest_entries_and_no_more(bench: WorkerBench) -> None:
    batches = [bench.batch([]) for _ in range(_INBOX_ENTRIES + 5 * _NODE)]
    bench.publisher.postpone(batches, ErrorCode.UNAVAILABLE)
    assert _INBOX_ENTRIES <= bench.redis.xlen(names.inbox_key(bench.edge_id)) <= _INBOX_ENTRIES + _NODE
    kept = [entry.batch_id for entry in bench.read().entries]
    assert kept == [batch.id for batch in batches][-len(kept) :]
