"""Processes batches: decode, store, publish. An event that fails harms no other."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic, sleep
from typing import Any, Final

import structlog
from redis import RedisError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from infra.wire.batch import Batch, Event
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.inbox import Answer, InboxEntry
from workers import dead_letters, metrics
from workers.batch_trace import BatchTrace
from workers.chat_locks import lock_chats
from workers.context import HandlerContext
from workers.database_errors import is_collision, is_deadlock, is_locked, is_timeout, is_unreachable
from workers.deleted_users import DeletedUsers
from workers.expiry import still_wanted
from workers.handler_table import HANDLED_AS, HANDLERS
from workers.outcome import Outcome
from workers.portions import finished, portions
from workers.profiles import ensure_profiles
from workers.publish import Publisher
from workers.requests import Request, Requests, decode
from workers.screening import Screen, Screened, find_messages, is_asked_about

log = structlog.get_logger(__name__)

_TRANSACTIONAL: Final = frozenset(name for name, entry in HANDLERS.items() if entry.needs_transaction)

_TRIES = 3
"""How often to try a batch that collides with another one."""

_BREATH_S = 0.05
"""Pause after a lock timeout: if two batches waited for each other, it lets the other one finish."""

_HURRY_S = 2.0
"""For this long after a lock timeout, batches wait less: what is locked is likely to stay locked."""

_SLOW_S = 1.0
"""A batch whose events take longer is slow: Postgres is busy, or far away. Waits for locks do not count."""

_APART_S = 10.0
"""For this long after a slow batch, the kinds of events in a batch are stored and answered one after another.

Otherwise each would wait for all the others, maybe past its deadline, which helps nobody, and hold its locks
meanwhile.
"""

_NOTHING = text("SELECT FROM chats WHERE false FOR UPDATE")
"""Locks no row, but fails on a server that is read-only."""

_HURRIED = text("SET LOCAL lock_timeout = 50")
"""In ms. For the few locks that cannot be skipped, such as that of a chat that another batch creates."""

_IMPATIENT = text(
    "SELECT set_config('lock_timeout', '50', true), set_config('statement_timeout', '1000', true)"
)
"""In ms. For finding the events because of which a batch ran into a timeout."""

_GIVE_UP_S = 10.0
"""After this time, a batch that ran into a timeout is split no further: its clients wait no longer."""


class Unreachable(Exception):
    """Postgres cannot be reached; no event is at fault. The message is one line."""


class BatchProcessor:
    """Turns events into committed rows and publications."""

    def __init__(
        self,
        engine: Engine,
        publisher: Publisher,
        context: HandlerContext,
        *,
        pooled: bool = False,
        screen: Screen | None = None,
    ) -> None:
        self._engine = engine
        self._statements = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._pooled = pooled
        """Behind a transaction-mode pooler, timeouts last only for a transaction."""
        self._publisher = publisher
        self._context = context
        self._screen = screen
        self._hurry_until = 0.0
        self._apart_until = 0.0
        self._give_up_at = 0.0
        self._deleted_users = DeletedUsers()
        self._trace = BatchTrace()

    def process(self, batches: Sequence[Batch]) -> None:
        """Process batches as if they were one, and answer them. Never raises.

        Processing them again changes nothing and gives the same answers.
        """
        began, outcome = monotonic(), "done"
        try:
            try:
                self._process_traced(batches)
            except Unreachable as error:
                outcome = "postponed"
                log.warning("batches_postponed", batches=_ids(batches), error=str(error))
                self._publisher.postpone(batches, ErrorCode.UNAVAILABLE)
        except RedisError as error:
            outcome = "unpublished"
            # The edges send the batches again; the sweep delivers the rest.
            log.warning("publish_failed", batches=_ids(batches), error=str(error))
        metrics.BATCH_SECONDS.observe(monotonic() - began)
        metrics.BATCHES.counts[outcome,] += len(batches)
        if outcome == "done":
            metrics.LAST_BATCH.set_to_current_time()

    def process_alone(self, event: Event) -> Answer:
        """Process an event whose answer no edge waits for, publish its effects, and return the answer.

        As in a batch, an event that fails becomes a dead letter, and processing it again changes nothing.
        Raises Unreachable, and redis.RedisError if it may be stored but is not published.
        """
        self._give_up_at = monotonic() + _GIVE_UP_S
        outcome = self._attempt_counted(*self._screened([event]))
        self._publisher.publish(Outcome(emits=outcome.emits))
        (answer,) = InboxEntry(answers=outcome.answers, emits=outcome.emits).all_answers()
        return answer

    def _process_traced(self, batches: Sequence[Batch]) -> None:
        events = [event for batch in batches for event in batch.events]
        self._trace = BatchTrace(events)
        with self._trace.handling():
            self._process(events, batches)

    def _process(self, events: Sequence[Event], batches: Sequence[Batch]) -> None:
        if not events:
            self._try_postgres()
        self._give_up_at = monotonic() + _GIVE_UP_S
        events, context = self._screened(events)
        began = monotonic()
        parts = portions(events, apart=began < self._apart_until)
        for place, (portion, closed) in enumerate(zip(parts, finished(batches, parts), strict=True)):
            if place:
                portion = still_wanted(portion, self._publisher.clock)
            outcome = self._attempt_counted(portion, context)
            with self._trace.step("publish", portion):
                self._publisher.publish(self._trace.passed_on(outcome), batches, closed)
        if monotonic() - began > _SLOW_S and not self._is_hurried():
            self._apart_until = monotonic() + _APART_S

    def _try_postgres(self) -> None:
        """Answer an edge that asks whether messages could be stored. Raises Unreachable."""
        try:
            with self._connect((), self._context) as conn:
                conn.execute(_NOTHING)
        except DBAPIError as error:
            raise Unreachable(f"Postgres: {_first_line(error)}") from error

    def _screened(self, events: Sequence[Event]) -> tuple[Sequence[Event], HandlerContext]:
        """Have the app's backend look at what is sent, without holding a connection to Postgres meanwhile."""
        if self._screen is None or not any(map(is_asked_about, events)):
            return events, self._context
        screened = Screened(list(events))
        try:
            with self._connect((), self._context) as conn:
                messages = find_messages(conn, screened, self._context)
        except SQLAlchemyError as error:
            raise Unreachable(f"Postgres: {_first_line(error)}") from error
        with self._trace.step("hook"):
            self._screen.ask(messages, screened, self._context)
        return screened.events, replace(self._context, refusals=screened.refusals)

    def _attempt_counted(self, events: Sequence[Event], context: HandlerContext) -> Outcome:
        outcome = self._attempt(events, context)
        failed = {answer.id: answer.failure.code for answer in outcome.answers if answer.failure}
        for labels, count in Counter((event.name, failed.get(event.id, "ok")) for event in events).items():
            metrics.EVENTS.counts[labels] += count
        return outcome

    def _attempt(self, events: Sequence[Event], context: HandlerContext) -> Outcome:
        """Handle events together; if that fails, handle as many of them as possible."""
        if not events:
            return Outcome()
        if not context.patient and monotonic() > self._give_up_at:
            return _rejected(events, ErrorCode.UNAVAILABLE)
        try:
            return self._handle(events, context)
        except RedisError:
            raise
        except Exception as error:
            if is_unreachable(error):
                raise Unreachable(f"Postgres: {_first_line(error)}") from error
            if context.patient and is_locked(error):
                return self._attempt_without_waiting(events, context)
            if is_timeout(error):
                context = replace(context, patient=False)
            if len(events) == 1:
                return self._give_up(events[0], error)
            metrics.SPLITS.inc()
            log.warning("batch_split", events=len(events), error=type(error).__name__)
        return self._attempt_in_halves(events, context)

    def _attempt_without_waiting(self, events: Sequence[Event], context: HandlerContext) -> Outcome:
        """Skip rows that are still locked. No event is at fault; those that need the rows are rejected."""
        metrics.LOCK_WAITS.inc()
        log.warning("batch_waited_for_lock", events=len(events))
        if not self._is_hurried():
            self._hurry_until = monotonic() + _HURRY_S
        sleep(_BREATH_S)
        return self._attempt(events, replace(context, patient=False))

    def _attempt_in_halves(self, events: Sequence[Event], context: HandlerContext) -> Outcome:
        """Isolate the event that is at fault."""
        middle = len(events) // 2
        outcome = self._attempt(events[:middle], context)
        outcome.extend(self._attempt(events[middle:], context))
        return outcome

    def _handle(self, events: Sequence[Event], context: HandlerContext) -> Outcome:
        rejected = Outcome()
        requests = decode_batch(events, rejected)
        for tries_left in reversed(range(_TRIES)):
            try:
                with self._connect(requests, context) as conn:
                    outcome = self._call_handlers(conn, requests, context)
            except DBAPIError as error:
                if not tries_left or not is_collision(error):
                    raise
                metrics.COLLISIONS.inc()
            else:
                outcome.extend(rejected)
                return outcome
        raise AssertionError("unreachable")

    def _call_handlers(self, conn: Connection, requests: Requests, context: HandlerContext) -> Outcome:
        outcome = Outcome()
        requests = self._deleted_users.reject(conn, requests, outcome)
        requests = ensure_profiles(conn, requests, context, outcome)
        must_lock = _is_transaction(conn)
        for name, entry in HANDLERS.items():
            if same_kind := requests.get(name):
                if must_lock and entry.locks_chats:
                    must_lock = False
                    with self._trace.step("lock_chats"):
                        lock_chats(conn, requests, context)
                began = monotonic()
                with self._trace.step(name, same_kind):
                    outcome.extend(entry.handle(conn, same_kind, context))
                metrics.HANDLER_SECONDS.observe(monotonic() - began, name)
        return outcome

    @contextmanager
    def _connect(self, names: Collection[str], context: HandlerContext) -> Iterator[Connection]:
        """Yield a connection for these commands; without a transaction if each statement may commit alone."""
        limits = None if context.patient else _IMPATIENT
        if limits is None and self._is_hurried():
            limits = _HURRIED
        if self._pooled or limits is not None or not _TRANSACTIONAL.isdisjoint(names):
            with self._engine.begin() as conn:
                if limits is not None:
                    conn.execute(limits)
                yield conn
                began = monotonic()
            metrics.COMMIT_SECONDS.observe(monotonic() - began)
        else:
            with self._statements.connect() as conn:
                yield conn

    def _is_hurried(self) -> bool:
        return monotonic() < self._hurry_until

    def _give_up(self, event: Event, error: Exception) -> Outcome:
        """Answer an event that cannot be handled, and keep it as a dead letter if it is at fault."""
        if is_timeout(error) or is_deadlock(error):
            return _rejected([event], ErrorCode.UNAVAILABLE)
        log.error("event_failed", event_id=event.id, name=event.name, error=type(error).__name__)
        try:
            dead_letters.keep(self._engine, event, error)
            metrics.DEAD_LETTERS.labels(event.name, "kept").inc()
        except SQLAlchemyError as failure:
            metrics.DEAD_LETTERS.labels(event.name, "lost").inc()
            log.error("dead_letter_lost", event_id=event.id, error=type(failure).__name__)
        return _rejected([event], ErrorCode.INTERNAL)


def decode_batch(events: Sequence[Event], rejected: Outcome) -> Requests:
    """Decode the payloads of all events, by handler; `rejected` answers those that do not decode."""
    requests: dict[str, list[Request[Any]]] = {}
    for event in events:
        with rejected.rejections(event):
            request = decode(event)
            requests.setdefault(HANDLED_AS[event.name], []).append(request)
    return requests


def _is_transaction(conn: Connection) -> bool:
    return conn.get_execution_options().get("isolation_level") != "AUTOCOMMIT"


def _rejected(events: Sequence[Event], code: ErrorCode) -> Outcome:
    outcome = Outcome()
    for event in events:
        outcome.reject(event, Rejection(code))
    return outcome


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).partition("\n")[0]


def _ids(batches: Sequence[Batch]) -> list[str]:
    return [batch.id for batch in batches]
