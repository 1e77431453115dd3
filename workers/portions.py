"""Cuts large batches so that pages of messages never fill the memory of a worker."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from infra.wire.batch import Event
from workers.handler_table import HANDLERS

_PAGES: Final = frozenset(name for name, entry in HANDLERS.items() if entry.reads_pages)
_PAGES_MAX: Final = 200
"""Pages in memory at once. A page of long texts takes more than a megabyte."""
_PAGES_OF_USER: Final = 20
"""Pages of one user in memory at once."""


def portions(events: Sequence[Event]) -> list[Sequence[Event]]:
    """Return the events in their order, in portions that are small enough; usually one."""
    cuts = [0]
    pages: list[str] = []
    for index, event in enumerate(events):
        if event.name in _PAGES:
            if len(pages) == _PAGES_MAX or pages.count(event.user_id) == _PAGES_OF_USER:
                cuts.append(index)
                pages.clear()
            pages.append(event.user_id)
    return [events[start:end] for start, end in pairwise([*cuts, len(events)])]
