"""`webhooks`: sends what is in the outbox, to each endpoint in the order of each chat, at least once.

One run at a time sends to an endpoint. If the endpoint is down, it pauses. If it refuses a request, the
events are sent in halves, so that in the end only the chats of those that it refuses wait.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import msgspec
import structlog
from sqlalchemy import Connection, Row

from functions import metrics
from functions.context import Context, Summary
from functions.errors import EventsRefused, TryLater
from functions.pacer import Pacer
from functions.webhooks import outbox
from functions.webhooks.outbox import Pauses
from infra.settings.functions import FunctionSettings
from infra.wire.webhooks import Event

log = structlog.get_logger(__name__)

_TURN_S: Final = 20.0
"""A run starts nothing new after this time: notifications wait for the same worker. The next run goes on."""
_START_S: Final = outbox.CLAIM_S - 30.0
"""A request starts only so long after its claim, so that it has ended before another run may send."""
_REQUEST_BYTES: Final = 1_000_000
"""More events than this are sent in several requests. A single one may be larger."""
_ALL_REFUSED: Final = 3
"""If an endpoint accepts nothing, and refuses so many chats, it is not the events that are wrong."""
_TRUST_ROUNDS: Final = 4
"""After so many successes, requests that were made smaller become larger again."""


def webhooks(context: Context, pacer: Pacer, dry_run: bool) -> Summary:
    """Send to all endpoints while the run stays. Return how many events were sent, refused and given up.

    Raises SettingsError and sqlalchemy.exc.SQLAlchemyError.
    """
    settings = context.settings
    if dry_run:
        with context.engine.connect() as conn:
            health = outbox.read_health(conn, settings.endpoints)
        return {"waiting": sum(row.waiting for row in health)}
    endpoints = {name: make_endpoint(settings, name) for name in settings.endpoints}
    summary = {"sent": 0, "refused": 0, "dead": 0}
    with ThreadPoolExecutor(max(1, len(endpoints))) as pool:
        # Each endpoint by itself: the others do not wait for one that is slow.
        for counts in pool.map(lambda one: _send_while_it_stays(context, pacer, *one), endpoints.items()):
            for name in summary:
                summary[name] += counts[name]
    return summary


def _send_while_it_stays(context: Context, pacer: Pacer, name: str, endpoint: "Posts") -> Counter[str]:
    """Send to an endpoint while the run stays. Return the counts of the run."""
    counts: Counter[str] = Counter()
    for _ in _looks(context.settings, pacer):
        counts.update(Sender(context, pacer, name, endpoint).run())
    return counts


def _looks(settings: FunctionSettings, pacer: Pacer) -> Iterator[None]:
    """Yield whenever a run is to look for events: once, and then for as long as it stays."""
    yield
    while pacer.elapsed_s + settings.webhooks_s <= settings.webhooks_stay_s and not pacer.out_of_time:
        time.sleep(settings.webhooks_s)
        yield


class Posts(Protocol):
    """Where to send events."""

    def post(self, events: Sequence[Event]) -> None:
        """Send events together. Raises EventsRefused and TryLater."""
        ...


def make_endpoint(settings: FunctionSettings, name: str) -> Posts:
    """Return an endpoint. Raises SettingsError if it lacks its URL or secrets.

    Its libraries are large, and most runs of functions need none of them.
    """
    from functions.webhooks.endpoint import Endpoint

    return Endpoint(settings.url_of(name), settings.secrets_of(name))


@dataclass(slots=True)
class _Results:
    """What became of some events."""

    sent: list[Row[Any]] = field(default_factory=list)
    refused: dict[UUID, tuple[Row[Any], str]] = field(default_factory=dict)
    """By chat: its first event that was refused, and why. Those after it were not sent."""
    down: TryLater | None = None
    """Why nothing more was sent."""


class Sender:
    """Sends to one endpoint."""

    def __init__(self, context: Context, pacer: Pacer, name: str, endpoint: Posts) -> None:
        self._engine = context.engine
        self._settings = context.settings
        self._pauses = Pauses(context.settings.webhooks_retry_s, context.settings.webhooks_give_up_s)
        self._pacer = pacer
        self._name = name
        self._endpoint = endpoint
        self._claim = uuid4()
        self._claimed_at = 0.0
        self._rounds = 0
        self._counts = {"sent": 0, "refused": 0, "dead": 0}

    def run(self) -> dict[str, int]:
        """Send until nothing is left, the endpoint is down, or time is over. Return the counts of the run."""
        began = time.monotonic()
        state = self._hold(outbox.claim)
        if state is None:
            return self._counts
        try:
            while state is not None and self._round(state) and not self._pacer.out_of_time:
                if time.monotonic() - began > _TURN_S:
                    break
                state = self._hold(outbox.renew)
        finally:
            with self._engine.begin() as conn:
                outbox.release(conn, self._name, self._claim)
        return self._counts

    def _hold(self, claim: Callable[[Connection, str, UUID], Row[Any] | None]) -> Row[Any] | None:
        self._claimed_at = time.monotonic()
        with self._engine.begin() as conn:
            return claim(conn, self._name, self._claim)

    def _round(self, state: Row[Any]) -> bool:
        """Send the next events. Return whether there may be more to send now."""
        lanes = 1 if state.tries else self._settings.webhooks_parallel
        batch = max(1, self._settings.webhooks_batch >> state.caution)
        is_lone = state.tries >= outbox.LONE_TRIES
        if is_lone:
            batch = 1
        with self._engine.begin() as conn:
            events = outbox.read_next(conn, self._name, lanes * batch)
        if not events:
            return False
        results = self._send_at_once(_split(events, lanes), batch)
        if is_lone and results.down is not None:  # it may be this event: let those of other chats come first
            results.refused[events[0].about] = (events[0], str(results.down))
        self._rounds += 1
        self._record(results, is_trusted=state.caution > 0 and self._rounds % _TRUST_ROUNDS == 0)
        return results.down is None

    def _send_at_once(self, parts: Sequence[Sequence[Row[Any]]], batch: int) -> _Results:
        with ThreadPoolExecutor(len(parts)) as pool:
            lanes = list(pool.map(lambda part: self._send_part(part, batch), parts))
        results = _Results()
        for lane in lanes:
            results.sent += lane.sent
            results.refused |= lane.refused
            results.down = results.down or lane.down
        if not results.sent and len(results.refused) >= _ALL_REFUSED and results.down is None:
            results.down = TryLater(next(iter(results.refused.values()))[1])
        if results.down is not None and not results.sent:
            results.refused.clear()
        return results

    def _send_part(self, events: Sequence[Row[Any]], batch: int) -> _Results:
        results = _Results()
        for chunk in _chunks(events, batch):
            self._send(chunk, results)
        return results

    def _send(self, events: Sequence[Row[Any]], results: _Results) -> None:
        """Send events, in halves if they are refused."""
        events = [event for event in events if event.about not in results.refused]
        if not events or results.down is not None or time.monotonic() - self._claimed_at > _START_S:
            return
        if not results.sent and len(results.refused) >= _ALL_REFUSED:
            return
        try:
            with _timed(self._name):
                self._endpoint.post([_to_event(event) for event in events])
        except TryLater as failure:
            results.down = failure
        except EventsRefused as refusal:
            if len(events) == 1:
                results.refused[events[0].about] = (events[0], str(refusal))
                return
            middle = len(events) // 2
            self._send(events[:middle], results)
            self._send(events[middle:], results)
        else:
            results.sent += events

    def _record(self, results: _Results, *, is_trusted: bool) -> None:
        dead = 0
        with self._engine.begin() as conn:
            if results.sent:
                sent = {event.number for event in results.sent}
                outbox.note_sent(conn, self._name, sent, {event.about for event in results.sent})
                # If another request failed, it may be because of an event: that is found by trying fewer.
                if results.down is None:
                    outbox.note_well(conn, self._name)
            if is_trusted and results.down is None:
                outbox.trust(conn, self._name)
            for event, error in results.refused.values():
                dead += outbox.wait(conn, self._name, event, error, self._pauses)
            if results.down is not None:
                asked_s = results.down.after_s or 0.0
                dead += outbox.pause(conn, self._name, str(results.down), asked_s, self._pauses)
        self._count(sent=len(results.sent), refused=len(results.refused), dead=dead)
        if results.down is not None:
            log.warning("webhook_paused", endpoint=self._name, error=str(results.down))
        for event, error in results.refused.values():
            log.warning("webhook_refused", endpoint=self._name, event_id=event.id, error=error)
        if dead:
            log.error("webhooks_given_up", endpoint=self._name, events=dead)

    def _count(self, **counts: int) -> None:
        for outcome, count in counts.items():
            self._counts[outcome] += count
            metrics.WEBHOOK_EVENTS.labels(self._name, outcome).inc(count)


def _split(events: Sequence[Row[Any]], lanes: int) -> list[list[Row[Any]]]:
    """Return the events in up to so many parts, those of each chat together."""
    parts: dict[int, list[Row[Any]]] = {}
    for event in events:
        parts.setdefault(event.about.int % lanes, []).append(event)
    return list(parts.values())


def _chunks(events: Sequence[Row[Any]], most: int) -> Iterator[list[Row[Any]]]:
    """Yield the events in portions for one request each."""
    chunk: list[Row[Any]] = []
    size = 0
    for event in events:
        if chunk and (len(chunk) == most or size + len(event.body) > _REQUEST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(event)
        size += len(event.body)
    yield chunk


def _to_event(row: Row[Any]) -> Event:
    return Event(
        id=row.id,
        type=row.event,
        number=row.number,
        created_at=row.at,
        data=msgspec.Raw(row.body.encode()),
    )


@contextmanager
def _timed(endpoint: str) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        metrics.WEBHOOK_SECONDS.observe(time.monotonic() - began, endpoint)
