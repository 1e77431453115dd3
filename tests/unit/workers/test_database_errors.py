"""Which errors are an event's own fault, and which are not."""

from collections.abc import Callable

import psycopg
import pytest
from psycopg import errors as pg
from sqlalchemy.exc import DBAPIError

from workers.database_errors import is_collision, is_deadlock, is_locked, is_timeout, is_unreachable


def wrapped(error: BaseException, *, invalidated: bool = False) -> DBAPIError:
    return DBAPIError("SELECT 1", {}, error, connection_invalidated=invalidated)


@pytest.mark.parametrize(
    ("error", "checks"),
    [
        (wrapped(pg.DeadlockDetected()), {is_collision, is_deadlock}),
        (wrapped(pg.SerializationFailure()), {is_collision, is_deadlock}),
        (wrapped(pg.UniqueViolation()), {is_collision}),
        (wrapped(pg.LockNotAvailable()), {is_locked, is_timeout}),
        (wrapped(pg.QueryCanceled()), {is_timeout}),
        (wrapped(pg.CheckViolation()), set()),
        (wrapped(psycopg.DataError("NUL")), set()),
        (wrapped(psycopg.OperationalError("connection refused")), {is_unreachable}),
        (wrapped(pg.AdminShutdown()), {is_unreachable}),
        (wrapped(pg.ReadOnlySqlTransaction()), {is_unreachable}),
        (wrapped(pg.UndefinedTable()), {is_unreachable}),
        (wrapped(pg.UndefinedColumn()), {is_unreachable}),
        (wrapped(pg.UndefinedFunction()), {is_unreachable}),
        (wrapped(pg.SyntaxError()), set()),
        (wrapped(pg.TooManyConnections()), {is_unreachable}),
        (wrapped(pg.DiskFull()), {is_unreachable}),
        (wrapped(pg.OutOfMemory()), {is_unreachable}),
        (wrapped(pg.CrashShutdown()), {is_unreachable}),
        (wrapped(pg.IdleInTransactionSessionTimeout()), {is_unreachable}),
        (wrapped(pg.CheckViolation(), invalidated=True), {is_unreachable}),
    ],
    ids=lambda value: type(value.orig).__name__ if isinstance(value, DBAPIError) else "",
)
def test_an_error_of_postgres_is_classified(
    error: DBAPIError, checks: set[Callable[[DBAPIError], bool]]
) -> None:
    every = (is_collision, is_deadlock, is_locked, is_timeout, is_unreachable)
    assert {check for check in every if check(error)} == checks


@pytest.mark.parametrize("check", [is_deadlock, is_locked, is_timeout, is_unreachable])
def test_a_defect_is_not_classified(check: Callable[[Exception], bool]) -> None:
    assert not check(RuntimeError("a bug"))
