"""Transactions that are tried again when others have locked what they need."""

from collections.abc import Callable
from typing import Final, TypeVar

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from functions.errors import ArchiveError

_TRIES: Final = 5

T = TypeVar("T")


def patiently(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Do some work in a transaction, several times if need be.

    Raises ArchiveError if rows stay locked, and sqlalchemy.exc.SQLAlchemyError.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            with engine.begin() as conn:
                return work(conn)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
            if not tries_left:
                raise ArchiveError("somebody else keeps the rows of messages locked") from error
    raise AssertionError("unreachable")
