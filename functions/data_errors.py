"""Tells an error that some user's data caused from one of a service.

A run skips whose data it cannot handle, and goes on. It ends if a service is down: the next one goes on.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import psycopg
from redis import RedisError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from functions.errors import FunctionError
from infra.settings.base import SettingsError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

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


def in_halves(
    work: Callable[[Sequence[_Item]], _Result],
    items: Sequence[_Item],
    skip: Callable[[_Item, Exception], None],
) -> list[_Result]:
    """Do some work for all items at once, or, if their data prevents that, for as many as possible.

    Returns the results. `skip` is called for each item for which it cannot be done.
    """
    if not items:
        return []
    try:
        return [work(items)]
    except Exception as error:
        if not is_data_error(error):
            raise
        if len(items) == 1:
            skip(items[0], error)
            return []
    middle = len(items) // 2
    return [*in_halves(work, items[:middle], skip), *in_halves(work, items[middle:], skip)]
