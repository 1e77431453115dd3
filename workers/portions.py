"""Cuts batches: large ones so that pages of messages never fill the memory of a worker, slow ones by kind."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from infra.wire.batch import Batch, Event
from workers.handler_table import HANDLED_AS, HANDLERS

_PLACES: Final = {name: place for place, name in enumerate(HANDLERS)}
_PAGES: Final = frozenset(name for name, entry in HANDLERS.items() if entry.reads_pages)
_PAGES_MAX: Final = 200
"""Pages in memory at once. A page of long texts takes more than a megabyte."""
_PAGES_OF_USER: Final = 20
"""Pages of one user in memory at once."""


def portions(events: Sequence[Event], *, apart: bool = False) -> list[Sequence[Event]]:
    """Return the events in their order, in portions that are small enough; usually one.

    `apart`: in portions of one kind each, in the order in which the kinds of a batch are handled.
    """
    return [portion for part in (_kinds(events) if apart else [events]) for portion in _cut(part)]


def finished(batches: Sequence[Batch], parts: Sequence[Sequence[Event]]) -> list[list[Batch]]:
    """Return, for each portion of their events, the batches whose last event is in it.

    Batches without events are finished with the first.
    """
    if len(parts) == 1:
        return [[*batches]]
    place_of = {event.id: place for place, portion in enumerate(parts) for event in portion}
    by_place: list[list[Batch]] = [[] for _ in parts]
    for batch in batches:
        by_place[max((place_of[event.id] for event in batch.events), default=0)].append(batch)
    return by_place


def _kinds(events: Sequence[Event]) -> list[Sequence[Event]]:
    kinds: dict[str, list[Event]] = {}
    for event in events:
        kinds.setdefault(HANDLED_AS.get(event.name, ""), []).append(event)
    return sorted(kinds.values(), key=lambda kind: _PLACES.get(kind[0].name, 0)) or [events]


def _cut(events: Sequence[Event]) -> list[Sequence[Event]]:
    cuts = [0]
    pages: list[str] = []
    for index, event in enumerate(events):
        if event.name in _PAGES:
            if len(pages) == _PAGES_MAX or pages.count(event.user_id) == _PAGES_OF_USER:
                cuts.append(index)
                pages.clear()
            pages.append(event.user_id)
    return [events[start:end] for start, end in pairwise([*cuts, len(events)])]
