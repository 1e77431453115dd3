"""What traces show of a worker: a span for each traced event of a batch, with the steps as its children."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from structlog.contextvars import bound_contextvars

from infra import tracing
from infra.wire.batch import Event
from workers.outcome import Outcome
from workers.requests import Request


class BatchTrace:
    """The traced events of a batch; usually none."""

    def __init__(self, events: Sequence[Event] = ()) -> None:
        self._events = [event for event in events if event.trace]
        self._parents: dict[str, str | None] = {}

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Hold while the batch is handled. Log lines then have the ids of the traces, as `trace`."""
        if not self._events:
            yield
            return
        spans = {event.id: tracing.begin_span("handle", event.trace) for event in self._events}
        self._parents = {event_id: tracing.traceparent(span) for event_id, span in spans.items()}
        try:
            with bound_contextvars(trace=[tracing.trace_id(event.trace or "") for event in self._events]):
                yield
        finally:
            for span in spans.values():
                tracing.end(span)

    @contextmanager
    def step(self, name: str, requests: Iterable[Request[Any] | Event] | None = None) -> Iterator[None]:
        """Hold while a step is taken, for these events or for all."""
        if not self._parents:
            yield
            return
        began_ns = tracing.now_ns()
        yield
        event_ids = self._parents if requests is None else {request.id for request in requests}
        for event_id, parent in self._parents.items():
            if event_id in event_ids:
                tracing.record_span(name, parent, began_ns)

    def passed_on(self, outcome: Outcome) -> Outcome:
        """Have the messages of traced events carry on their traces."""
        if self._parents:
            for place, emit in enumerate(outcome.emits):
                if parent := self._parents.get(emit.answers or ""):
                    outcome.emits[place] = msgspec.structs.replace(emit, trace=parent)
        return outcome
