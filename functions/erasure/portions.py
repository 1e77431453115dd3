"""Walks through a table in portions, each in a transaction of its own."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, Engine

from functions.archive.patience import patiently
from functions.pacer import Pacer

PlaceT = TypeVar("PlaceT")


def erase_in_portions(
    engine: Engine, pacer: Pacer, start: PlaceT, erase: Callable[[PlaceT, Connection], PlaceT | None]
) -> bool:
    """Call `erase` again and again, each time with the place of the last row that it has read.

    It returns None once there are no more rows. Returns False if the run is out of time.
    """
    place = start
    while not pacer.out_of_time:
        last = patiently(engine, partial(erase, place))
        if last is None:
            return True
        place = last
        pacer.pause()
    return False
