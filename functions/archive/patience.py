"""Transactions that are tried again when others have locked what they need."""

from collections.abc import Callable
from typing import Final, TypeVar

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

_TRIES: Final = 5

T = TypeVar("T")


def patiently(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Do some work in a transaction, several times if need be. Raises sqlalchemy.exc.SQLAlchemyError."""
    for _ in range(_TRIES - 1):
        try:
            with engine.begin() as conn:
                return work(conn)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
    with engine.begin() as conn:
        return work(conn)
