"""What an erasure searches is found by indexes, however much there is of others."""

import uuid

import pytest

from functions.erasure import reports, rows
from functions.erasure.scheduled import erase_users
from functions.pacer import Pacer
from infra.store import erasures
from infra.store.erasures import Mode
from infra.store.export import read_page
from tests.harness.buffers import cost
from tests.harness.two import Two
from tests.integration.functions.conftest import ContextFactory

OTHERS = 20_000
FEW = 60
"""Buffers; each table has many times as many."""


@pytest.fixture
def crowded(two: Two) -> Two:
    """Two friends among many reports, dead letters and erasures of others."""
    two.do(two.alice, "report", chatId=two.chat_id, seq=2, reason="spam")
    two.do(two.bob, "report", chatId=two.chat_id, seq=1, reason="spam")
    for sql in (
        "INSERT INTO reports (id, reporter_id, reported_id, chat_id, seq, reason, messages)"
        " SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'x', '[]'"
        " FROM generate_series(1, :n)",
        "INSERT INTO dead_letters (id, event, user_id, payload, error)"
        " SELECT gen_random_uuid(), 'typing', gen_random_uuid(), '{}', 'boom' FROM generate_series(1, :n)",
        "INSERT INTO erasures (user_id, mode, step, finished_at)"
        " SELECT gen_random_uuid(), 'delete', 'redis', now() FROM generate_series(1, :n)",
    ):
        two.bench.rows(sql, n=OTHERS)
    with two.bench.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("VACUUM (ANALYZE) reports, dead_letters, erasures")
    return two


def test_reports_and_dead_letters_of_others_are_not_read(crowded: Two) -> None:
    bench = crowded.bench
    with bench.engine.begin() as conn:
        erasure = erasures.begin(conn, crowded.alice.id, Mode.DELETE, again=False)
    pacer = Pacer(600)
    assert 0 < cost(bench, "FROM reports", lambda: reports.erase_copies(bench.engine, pacer, erasure)) < FEW
    assert (
        cost(bench, "DELETE FROM dead_letters", lambda: rows.delete_rows(bench.engine, pacer, erasure)) < FEW
    )

    def look() -> None:
        with bench.engine.begin() as conn:
            erasures.has_traces(conn, uuid.UUID(int=7))

    assert 0 < cost(bench, "SELECT EXISTS (SELECT FROM profiles", look) < FEW


def test_a_run_with_nothing_to_do_reads_next_to_nothing(crowded: Two, make_context: ContextFactory) -> None:
    context = make_context()
    assert 0 < cost(crowded.bench, "FROM erasures", lambda: erase_users(context, Pacer(600), False)) < 10


def test_the_last_pages_of_an_export_read_what_is_the_users(crowded: Two) -> None:
    def read() -> None:
        with crowded.bench.engine.begin() as conn:
            for section in ("reports", "unhandled"):
                first = f"{section} 00000000-0000-0000-0000-000000000000"
                read_page(conn, crowded.alice.id, first, 100, archived=True)

    assert 0 < cost(crowded.bench, "AND id > $", read) < FEW
