"""Tells an error that some user's data caused from one of a service.

A run skips whose data it cannot handle, and goes on. It ends if a service is down: the next one goes on.
"""

from typing import Final

import psycopg
from redis import RedisError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from functions.errors import FunctionError
from infra.settings.base import SettingsError

_CLASSES: Final = frozenset({"22", "23", "40", "P0"})
"""Wrong data, broken constraints, lost deadlocks, and what triggers raise: the first two of SQLSTATE."""
_STATES: Final = frozenset({"55P03", "57014"})
"""A row that stays locked, and a statement that took too long."""
_OTHERS: Final = (SQLAlchemyError, RedisError, OSError, MemoryError, SettingsError, FunctionError)


def is_data_error(error: Exception) -> bool:
    """Return whether the data at hand caused an error, so that other data may well be fine."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        if state is None:
            return isinstance(error.orig, psycopg.DataError)  # a value that Python cannot hold
        return state[:2] in _CLASSES or state in _STATES
    return not isinstance(error, _OTHERS)
