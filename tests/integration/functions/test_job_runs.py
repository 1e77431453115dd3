"""No two runs take one time of a job, on a real Postgres, and times that nobody took are reported once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from functions import run
from functions.context import Context, Summary
from functions.due import newest_due
from functions.job_runs import JobRuns
from functions.jobs import Job
from functions.metrics import MISSED
from functions.pacer import Pacer
from functions.schedule import built_in_jobs
from tests.harness.worker_bench import WorkerBench
from tests.integration.functions.conftest import BenchFactory, ContextFactory

NIGHTLY = Job("nightly", "17 3 * * *", "UTC", late_s=3_600)
OFTEN = Job("often", "* * * * *", "UTC", late_s=60)
RUN_S = 600.0


@pytest.fixture
def bench(make_bench: BenchFactory) -> WorkerBench:
    return make_bench()


@pytest.fixture
def runs(bench: WorkerBench) -> JobRuns:
    return JobRuns(bench.engine, [NIGHTLY, OFTEN])


def nights(ago: int) -> datetime:
    """Return the newest time of the nightly job, or one before it."""
    now = datetime.now(UTC)
    newest = now.replace(hour=3, minute=17, second=0, microsecond=0)
    return newest - timedelta(days=ago + (newest > now))


def taken(runs: JobRuns, due: datetime, job: Job = NIGHTLY) -> bool:
    return runs.begin(job, due, RUN_S).due == due


def test_one_of_many_takes_a_time(runs: JobRuns) -> None:
    with ThreadPoolExecutor(8) as workers:
        took = list(workers.map(lambda _: taken(runs, nights(0)), range(8)))
    assert took.count(True) == 1


def test_the_next_time_is_another_one_and_an_earlier_one_counts_as_taken(runs: JobRuns) -> None:
    assert [taken(runs, nights(ago)) for ago in (3, 2, 2, 3, 1)] == [True, True, False, False, True]


@pytest.mark.parametrize("retry", [False, True])
def test_a_run_that_failed_may_begin_again_where_repeating_is_safe(bench: WorkerBench, retry: bool) -> None:
    job = Job("nightly", "17 3 * * *", "UTC", late_s=3_600, retry=retry)
    runs = JobRuns(bench.engine, [job])
    due = nights(0)
    assert taken(runs, due, job)
    assert not taken(runs, due, job)
    runs.end(job, due, failed=True)
    assert taken(runs, due, job) is retry
    runs.end(job, due, failed=False)
    assert not taken(runs, due, job)


@pytest.mark.parametrize("retry", [False, True])
@pytest.mark.parametrize(("after_s", "is_dead"), [(RUN_S, False), (RUN_S + 61, True)])
def test_a_run_that_died_may_begin_again_once_it_must_have_ended(
    bench: WorkerBench, retry: bool, after_s: float, is_dead: bool
) -> None:
    job = Job("nightly", "17 3 * * *", "UTC", late_s=3_600, retry=retry)
    runs = JobRuns(bench.engine, [job])
    assert taken(runs, nights(0), job)
    bench.rows("UPDATE job_runs SET began_at = now() - make_interval(secs => :s)", s=after_s)
    assert taken(runs, nights(0), job) is (retry and is_dead)


def test_a_beat_whose_clock_is_far_ahead_takes_no_time_to_come(runs: JobRuns) -> None:
    begun = runs.begin(NIGHTLY, nights(-3), RUN_S)
    assert begun.due == nights(0)
    assert not taken(runs, nights(0))


def test_a_job_that_is_new_has_missed_nothing(runs: JobRuns) -> None:
    assert runs.begin(NIGHTLY, nights(0), RUN_S).missed == []


def test_times_between_two_runs_were_missed(runs: JobRuns, bench: WorkerBench) -> None:
    patient = Job("patient", "* * * * *", "UTC", late_s=3_600)
    minute = newest_minute()
    runs.begin(patient, minute - timedelta(minutes=10), RUN_S)
    bench.rows("UPDATE job_runs SET seen_until = due_at WHERE name = 'patient'")
    (missed,) = runs.begin(patient, minute - timedelta(minutes=4), RUN_S).missed
    assert (missed.job, missed.newest, missed.times) == (patient, minute - timedelta(minutes=5), 5)
    assert runs.begin(patient, minute - timedelta(minutes=3), RUN_S).missed == []


def test_any_run_notices_what_no_run_took_in_time(runs: JobRuns, bench: WorkerBench) -> None:
    runs.begin(NIGHTLY, nights(5), RUN_S)
    bench.rows("UPDATE job_runs SET seen_until = due_at WHERE name = 'nightly'")
    late = newest_due(NIGHTLY, datetime.now(UTC) - timedelta(hours=1))
    (missed,) = runs.begin(OFTEN, newest_minute(), RUN_S).missed
    assert (missed.job, missed.newest) == (NIGHTLY, late)
    assert runs.begin(OFTEN, newest_minute(), RUN_S).missed == []


def test_a_late_run_is_reported_and_runs(runs: JobRuns, bench: WorkerBench) -> None:
    due = nights(1)
    runs.begin(NIGHTLY, nights(2), RUN_S)
    bench.rows("UPDATE job_runs SET seen_until = due_at WHERE name = 'nightly'")
    begun = runs.begin(NIGHTLY, due, RUN_S)
    assert begun.due == due
    assert nights(1) <= begun.missed[0].newest <= nights(0)


def test_every_missed_time_is_told_to_one_only(runs: JobRuns, bench: WorkerBench) -> None:
    runs.begin(NIGHTLY, nights(20), RUN_S)
    bench.rows("UPDATE job_runs SET seen_until = :due WHERE name = 'nightly'", due=nights(20))
    with ThreadPoolExecutor(4) as workers:
        found = list(workers.map(lambda _: runs.begin(NIGHTLY, nights(10), RUN_S).missed, range(4)))
    assert sorted(map(len, found)) == [0, 0, 0, 1]


def test_a_new_schedule_has_missed_nothing(runs: JobRuns, bench: WorkerBench) -> None:
    runs.begin(NIGHTLY, nights(5), RUN_S)
    bench.rows("UPDATE job_runs SET seen_until = due_at WHERE name = 'nightly'")
    moved = Job("nightly", "18 3 * * *", "UTC", late_s=3_600)
    begun = JobRuns(bench.engine, [moved]).begin(moved, nights(0) + timedelta(minutes=1), RUN_S)
    assert begun.missed == []
    assert begun.due


def test_the_table_has_a_row_per_job(runs: JobRuns, bench: WorkerBench) -> None:
    for ago in range(9, -1, -1):
        assert taken(runs, newest_minute() - timedelta(minutes=ago), OFTEN)
    assert bench.rows("SELECT name FROM job_runs ORDER BY 1") == [("nightly",), ("often",)]


def newest_minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture(autouse=True)
def _uncached_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log anew: a logger that a test of Lambda has used keeps its processors."""
    monkeypatch.setattr(run, "log", structlog.get_logger(run.__name__))


@pytest.fixture
def cleanups(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Replace `cleanup`; return what it does, and raise what is put into it."""
    calls: list[str] = []

    def cleanup(context: Context, pacer: Pacer, dry_run: bool) -> Summary:
        calls.append("cleanup")
        if calls.count("fail"):
            raise ArithmeticError
        return {"rows": 1}

    monkeypatch.setitem(run.FUNCTIONS, "cleanup", cleanup)
    return iter([calls])  # one list, shared


def run_cleanup(context: Context, due: datetime) -> Any:
    return run.run_due("cleanup", context, due, built_in_jobs(context.settings))


def newest_cleanup(context: Context) -> datetime:
    due = newest_due(built_in_jobs(context.settings)[1], datetime.now(UTC))
    assert due
    return due


def test_a_function_runs_once_for_a_time_and_always_by_hand(
    bench: WorkerBench, make_context: ContextFactory, cleanups: Iterator[list[str]]
) -> None:
    calls, context = next(cleanups), make_context()
    due = newest_cleanup(context)
    with capture_logs() as logs:
        done = [run_cleanup(context, due).summary for _ in range(2)]
    assert done == [{"rows": 1}, None]
    assert [line["event"] for line in logs] == ["function_finished", "job_already_run"]
    assert run.run("cleanup", context) == {"rows": 1}
    assert len(calls) == 2


def test_a_function_that_failed_runs_again_if_asked(
    bench: WorkerBench, make_context: ContextFactory, cleanups: Iterator[list[str]]
) -> None:
    calls, context = next(cleanups), make_context()
    calls.append("fail")
    due = newest_cleanup(context)
    with pytest.raises(ArithmeticError):
        run_cleanup(context, due)
    calls.remove("fail")
    assert run_cleanup(context, due).summary == {"rows": 1}
    assert run_cleanup(context, due).summary is None


def test_what_was_missed_is_logged_and_counted(
    bench: WorkerBench, make_context: ContextFactory, cleanups: Iterator[list[str]]
) -> None:
    context = make_context()
    due = newest_cleanup(context)
    run_cleanup(context, due - timedelta(days=4))
    bench.rows("UPDATE job_runs SET seen_until = due_at WHERE name = 'cleanup'")
    before = MISSED.labels("cleanup")._value.get()
    with capture_logs() as logs:
        times = run_cleanup(context, due).missed
    (line,) = [line for line in logs if line["event"] == "job_missed"]
    assert (line["function"], line["times"], line["log_level"]) == ("cleanup", times, "warning")
    assert times in (3, 4)  # 4 if `due` itself is more than an hour ago
    assert MISSED.labels("cleanup")._value.get() == before + times
