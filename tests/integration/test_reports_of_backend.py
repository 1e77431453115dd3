"""The app's own backend lists, reads and closes reports, many at once."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from infra.wire.batch import Event
from infra.wire.errors import ErrorCode
from infra.wire.server_api import NOBODY
from tests.harness.two import Two
from tests.harness.worker_bench import WorkerBench

BACKEND = uuid.UUID(NOBODY)


@pytest.fixture
def reports(bench: WorkerBench) -> Iterator[list[str]]:
    """Ids of five reports, newest first. All are of the same moment."""
    bench.rows("TRUNCATE reports")
    two = Two.friends(bench)
    for number in range(5):
        two.send(two.alice, f"message {number}")
    for seq in two.bench.seqs(two.chat_id)[-5:]:
        two.ask(two.event(two.bob, "report", chatId=two.chat_id, seq=seq, reason="spam"))
    bench.rows("UPDATE reports SET created_at = '2030-01-01T00:00:00.123456Z'")
    yield [str(row.id) for row in bench.rows("SELECT id FROM reports ORDER BY id DESC")]
    bench.rows("TRUNCATE reports")


def asking(bench: WorkerBench, name: str, **payload: Any) -> Event:
    return bench.event(BACKEND, name, payload)


def ask(bench: WorkerBench, name: str, **payload: Any) -> Any:
    event = asking(bench, name, **payload)
    return bench.ask(event).ack(event)


def listed(bench: WorkerBench, **payload: Any) -> list[str]:
    """Return the ids of all reports that are listed, in pages of two."""
    ids: list[str] = []
    while True:
        page = ask(bench, "list_reports", limit=2, **payload)
        ids += [one["reportId"] for one in page["reports"]]
        if page["nextCursor"] is None:
            return ids
        payload["cursor"] = page["nextCursor"]


def test_pages_hold_every_report_once(bench: WorkerBench, reports: list[str]) -> None:
    assert listed(bench) == reports
    ask(bench, "close_report", reportId=reports[1])
    ask(bench, "close_report", reportId=reports[4])
    assert listed(bench) == [reports[0], reports[2], reports[3]]
    assert listed(bench, withClosed=True) == reports


def test_each_request_of_a_batch_has_its_own_answer(bench: WorkerBench, reports: list[str]) -> None:
    close = [asking(bench, "close_report", reportId=one) for one in (reports[0], str(uuid.uuid4()))]
    get = [asking(bench, "get_report", reportId=one) for one in (reports[0], reports[3], str(uuid.uuid4()))]
    open_ones, wrong, both = (
        asking(bench, "list_reports", limit=1),
        asking(bench, "list_reports", cursor="x"),
        asking(bench, "list_reports", limit=1, withClosed=True),
    )
    reply = bench.ask(open_ones, wrong, both, *get, *close)
    assert reply.failure(wrong).code is ErrorCode.INVALID_PAYLOAD
    for missing in (get[2], close[1]):
        assert reply.failure(missing).code is ErrorCode.REPORT_NOT_FOUND
    # Reports are closed before any is read.
    assert [one["reportId"] for one in reply.ack(open_ones)["reports"]] == [reports[1]]
    assert [one["reportId"] for one in reply.ack(both)["reports"]] == [reports[0]]
    assert [reply.ack(one)["report"]["reportId"] for one in (get[0], get[1], close[0])] == [
        reports[0],
        reports[3],
        reports[0],
    ]
    assert reply.ack(get[0])["report"]["closedAt"] == reply.ack(close[0])["report"]["closedAt"] is not None
    assert not reply.emits


def test_a_closed_report_stays_as_it_is(bench: WorkerBench, reports: list[str]) -> None:
    bench.rows("UPDATE reports SET closed_at = '2031-01-01T00:00:00Z' WHERE id = :id", id=reports[0])
    closed = ask(bench, "close_report", reportId=reports[0])["report"]
    assert closed["closedAt"] == "2031-01-01T00:00:00.000Z"
