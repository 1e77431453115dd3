"""Python's cyclic garbage collector, tuned for a long-running server.

Objects made at the start live as long as the process, so they are never scanned again. Requests and
messages leave almost no cycles, so scans are rare. With the defaults, a busy edge or worker spends a fifth
of its CPU on scans (docs/benchmarks.md).
"""

import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000
"""Net allocations of container objects that trigger a scan of the youngest generation; the default is 700."""
_ROUNDS: Final = 20
"""Scans of each generation before the next older one is scanned too; the default is 10."""


def tune_collector() -> None:
    """Call once, when everything is imported and created."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _ROUNDS, _ROUNDS)
