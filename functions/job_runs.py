"""The table `job_runs`: which times of a job runs have taken, so that no other takes them, or missed.

It has a row per job, so nothing piles up. Only the clock of Postgres counts, because all hosts share it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, text

from functions.due import count_due, newest_due
from functions.jobs import Job

_AHEAD_MAX: Final = timedelta(seconds=60)
"""The clock of beat may be this much ahead of that of Postgres."""
_DIES_S: Final = 60
"""A run that has not ended this long after `run_s` counts as dead."""

_NOW = text("SELECT now()")
_ADD = text(
    """
    INSERT INTO job_runs (name, schedule, seen_until) VALUES (:name, :schedule, now())
    ON CONFLICT (name) DO UPDATE SET schedule = excluded.schedule, seen_until = excluded.seen_until
    WHERE job_runs.schedule <> excluded.schedule
    """
)
"""Nobody has missed a time of a job, or of a schedule, that is new."""
_LOCK = text("SELECT * FROM job_runs WHERE name = ANY(:names) ORDER BY name FOR UPDATE")
_SEEN = text("UPDATE job_runs SET seen_until = :until WHERE name = :name")
_BEGIN = text(
    """
    UPDATE job_runs SET due_at = :due, began_at = clock_timestamp(), ended_at = NULL, failed = false
    WHERE name = :name AND (
        due_at IS NULL OR due_at < :due
        OR due_at = :due AND :retry
            AND (failed OR ended_at IS NULL AND began_at < now() - make_interval(secs => :lasts_s))
    )
    RETURNING name
    """
)
_END = text("UPDATE job_runs SET ended_at = now(), failed = :failed WHERE name = :name AND due_at = :due")


@dataclass(frozen=True, slots=True)
class Missed:
    """Times of a job that have passed without a run that began in time."""

    job: Job
    newest: datetime
    times: int
    """At most 1,000."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What became of an attempt to begin a run."""

    due: datetime | None
    """The time that it took. None if another run has taken it."""
    missed: Sequence[Missed]
    """What any job has missed. No other attempt is told of it."""


class JobRuns:
    """The table, for the jobs of one host."""

    def __init__(self, engine: Engine, jobs: Sequence[Job]) -> None:
        self._engine = engine
        self._jobs = {job.name: job for job in jobs}

    def begin(self, job: Job, due: datetime, run_s: float) -> Begun:
        """Take a time of a job. A time before one that was taken counts as taken, too.

        Raises sqlalchemy.exc.SQLAlchemyError.
        """
        with self._engine.begin() as conn:
            rows = self._rows(conn, {**self._jobs, job.name: job})
            now: datetime = conn.execute(_NOW).scalar_one()
            if due > now + _AHEAD_MAX:
                due = newest_due(job, now) or due
            missed = self._missed(conn, rows, job, due, now)
            lasts_s = run_s + _DIES_S
            took = conn.execute(
                _BEGIN, {"name": job.name, "due": due, "retry": job.retry, "lasts_s": lasts_s}
            )
            return Begun(due if took.first() else None, missed)

    def end(self, job: Job, due: datetime, *, failed: bool) -> None:
        """Note that the run for a time has ended. Raises sqlalchemy.exc.SQLAlchemyError."""
        with self._engine.begin() as conn:
            conn.execute(_END, {"name": job.name, "due": due, "failed": failed})

    def _rows(self, conn: Connection, jobs: Mapping[str, Job]) -> list[tuple[Job, Row[Any]]]:
        """Lock the rows of the jobs and return them. Add those that are new."""
        rows = conn.execute(_LOCK, {"names": list(jobs)}).all()
        known = {(row.name, row.schedule) for row in rows}
        if new := sorted(name for name, job in jobs.items() if (name, str(job)) not in known):
            for name in new:
                conn.execute(_ADD, {"name": name, "schedule": str(jobs[name])})
            rows = conn.execute(_LOCK, {"names": list(jobs)}).all()
        return [(jobs[row.name], row) for row in rows]

    @staticmethod
    def _missed(
        conn: Connection, rows: Sequence[tuple[Job, Row[Any]]], begins: Job, due: datetime, now: datetime
    ) -> list[Missed]:
        """Return what any job has missed, and note that it was reported."""
        found = []
        for job, row in rows:
            until = now - timedelta(seconds=job.late_s)
            if job is begins:  # all times before this one, too
                until = max(until, due - timedelta(microseconds=1))
            if missed := _missed_until(job, row, until):
                conn.execute(_SEEN, {"name": job.name, "until": missed.newest})
                found.append(missed)
        return found


def _missed_until(job: Job, row: Row[Any], until: datetime) -> Missed | None:
    seen = max(row.seen_until, row.due_at or row.seen_until)
    count = count_due(job, seen, until) if seen < until else 0
    newest = newest_due(job, until) if count else None
    return Missed(job, newest, count) if newest else None
