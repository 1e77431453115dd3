"""What an error of Postgres means for the batch that ran into it."""

import psycopg
from psycopg import errors as pg
from sqlalchemy.exc import DBAPIError

_DEADLOCKS = (pg.DeadlockDetected, pg.SerializationFailure)
_COLLISIONS = (*_DEADLOCKS, pg.UniqueViolation)
_UNREACHABLE = (
    "08",  # the connection broke
    "25006",  # the server is a standby, or read-only
    "25P03",  # the transaction was idle for too long
    *("42703", "42883", "42P01"),  # no such column, function or table: the database is not migrated yet
    "53",  # out of resources
    "57P",  # shutting down
)
"""SQLSTATEs, or their beginnings."""
_TIMEOUTS = (pg.LockNotAvailable, pg.QueryCanceled)


def is_collision(error: DBAPIError) -> bool:
    """Tell whether another batch was in the way, so that the same statements may succeed now."""
    return isinstance(error.orig, _COLLISIONS)


def is_deadlock(error: Exception) -> bool:
    """Tell whether others alone are at fault for a collision."""
    return isinstance(error, DBAPIError) and isinstance(error.orig, _DEADLOCKS)


def is_locked(error: Exception) -> bool:
    """Tell whether a row stayed locked for longer than statements wait."""
    return isinstance(error, DBAPIError) and isinstance(error.orig, pg.LockNotAvailable)


def is_timeout(error: Exception) -> bool:
    """Tell whether a statement took too long, because of a lock or otherwise."""
    return isinstance(error, DBAPIError) and isinstance(error.orig, _TIMEOUTS)


def is_unreachable(error: Exception) -> bool:
    """Tell whether Postgres is unreachable, going away or not migrated, so that no event is at fault."""
    if not isinstance(error, DBAPIError):
        return False
    # No SQLSTATE: the connection was never made, or it broke; or psycopg itself did not accept a value.
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate is None:
        return error.connection_invalidated or not isinstance(error.orig, psycopg.DataError)
    return error.connection_invalidated or sqlstate.startswith(_UNREACHABLE)
