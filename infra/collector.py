"""Python's cyclic garbage collector, set up for a process that serves for long.

What is made at the start stays, so it is not looked at again; requests and messages leave next to no
cycles, so it is looked for them rarely. With the defaults a fifth of the CPU of a busy edge or worker
goes into looking (docs/benchmarks.md).
"""

import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000
"""Container objects made and not freed before the young ones are looked at; Python's default is 700."""
_ROUNDS: Final = 20
"""Looks at the young objects for one at the middle-aged, and looks at those for one at the old."""


def tune_collector() -> None:
    """Call it once, when everything is imported and made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _ROUNDS, _ROUNDS)
