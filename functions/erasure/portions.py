"""Walks through a table in portions, each in a transaction of its own, which notes how far it has come."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, Engine

from functions.archive.patience import patiently
from functions.erasure import record
from functions.pacer import Pacer
from infra.store.erasures import Erasure

PlaceT = TypeVar("PlaceT")


def erase_in_portions(
    engine: Engine,
    pacer: Pacer,
    erasure: Erasure,
    step: str,
    start: PlaceT,
    erase: Callable[[Erasure, PlaceT, Connection], PlaceT | None],
) -> bool:
    """Call `erase` again and again, each time with the place of the last row that it has read.

    It returns None once there are no more rows. Returns False if the run is out of time.
    """
    place = start
    while not pacer.out_of_time:
        last = patiently(engine, partial(_erase_portion, erasure, step, partial(erase, erasure, place)))
        if last is None:
            return True
        place = last
        pacer.pause()
    return False


def _erase_portion(
    erasure: Erasure, step: str, erase: Callable[[Connection], PlaceT | None], conn: Connection
) -> PlaceT | None:
    last = erase(conn)
    if last is not None:
        record.move(conn, erasure, step, str(last))
    return last
