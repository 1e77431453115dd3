"""Handles one batch: decode, store, publish. A poison event harms only itself."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from time import monotonic, sleep
from typing import Any, Final

import psycopg
import structlog
from psycopg import errors as pg
from redis import RedisError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from infra.wire import commands
from infra.wire.batch import Batch, Event
from infra.wire.errors import ErrorCode, Failure
from infra.wire.inbox import Answer
from workers import dead_letters
from workers.errors import Refused
from workers.handlers.announce import announce
from workers.handlers.catch_up import catch_up
from workers.handlers.confirm_delivery import confirm_deliveries
from workers.handlers.devices import register_devices, unregister_devices
from workers.handlers.get_messages import get_messages
from workers.handlers.introduce import introduce
from workers.handlers.join_chat import join_chats
from workers.handlers.list_chats import list_chats
from workers.handlers.mark_as_read import mark_as_read
from workers.handlers.send_message import send_messages
from workers.handlers.sync import sync
from workers.handlers.typing import typing
from workers.publish import Publisher
from workers.requests import Outcome, Request, decode
from workers.rules import Rules

log = structlog.get_logger(__name__)

Handler = Callable[[Connection, Sequence[Request[Any]], Rules], Outcome]

HANDLERS: Final[dict[str, Handler]] = {
    commands.INTRODUCE: introduce,
    commands.CATCH_UP: catch_up,
    "mark_as_read": mark_as_read,
    commands.CONFIRM_DELIVERY: confirm_deliveries,
    "join_chat": join_chats,
    "send_message": send_messages,
    "get_messages": get_messages,
    "list_chats": list_chats,
    "sync": sync,
    "typing": typing,
    "register_device": register_devices,
    "unregister_device": unregister_devices,
    commands.ANNOUNCE: announce,
}
"""In the order in which the kinds of a batch are handled.

Reads come after sends, so that a client finds what it has just sent; marking as read comes before
them, so that nothing is marked that the reader cannot have seen. What locks members comes before what
locks chats, so that batches rarely wait for each other in a circle; the page of a join may therefore
lack a message sent in the same batch, which `message_sent` brings.
"""

_TOGETHER: Final = {commands.MARK_AS_READ, "join_chat", "register_device"}
"""Kinds whose statements belong together. A batch without any needs no transaction around it.

A send or a receipt is one statement, as a rule. Where they are several, and with the other kinds that write,
each may be repeated: what a worker leaves when it dies in between is an empty chat, or a profile.
"""

_PAGES: Final = {"join_chat", "get_messages", "list_chats", "sync", commands.CATCH_UP}
_PAGES_MAX: Final = 200
"""Requests for pages that are handled together: a page of long texts takes over a megabyte."""
_PAGES_OF_USER: Final = 20
"""The same of one user: nobody fills a worker with the pages that they ask for at once."""

_TRIES = 3
"""How often a batch is tried when it collided with another one."""

_BREATH_S = 0.05
"""After a lock time-out, the other one of two batches that waited for each other can finish."""

_HURRY_S = 2.0
"""After a lock was waited for in vain, how long others get less time: what is locked will likely stay so."""

_HURRIED = text("SET LOCAL lock_timeout = 50")
"""ms. For the few locks that cannot be skipped as well, e.g. of a chat that another batch is creating."""

_COLLISIONS = (pg.DeadlockDetected, pg.SerializationFailure, pg.UniqueViolation)
_LATE = (pg.LockNotAvailable, pg.QueryCanceled)


class Unreachable(Exception):
    """Postgres cannot be reached: no event is at fault. The message is one line."""


class Relay:
    """Turns events into committed rows and publications."""

    def __init__(self, engine: Engine, publisher: Publisher, rules: Rules, *, pooled: bool = False) -> None:
        self._engine = engine
        self._statements = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._pooled = pooled
        """Behind a transaction-mode pooler, time-outs hold for a transaction only."""
        self._publisher = publisher
        self._rules = rules
        self._hurry_until = 0.0

    def handle(self, batches: Sequence[Batch]) -> None:
        """Handle batches as if they were one. Never raises: it answers.

        Doing it twice changes nothing and answers the same.
        """
        events = [event for batch in batches for event in batch.events]
        try:
            try:
                *first, last = _portions(events)
                for portion in first:
                    self._publisher.publish(self._attempt(portion, self._rules), batches, is_all=False)
                outcome = self._attempt(last, self._rules)
            except Unreachable as error:
                log.warning("batches_postponed", batches=_ids(batches), error=str(error))
                self._publisher.postpone(batches, ErrorCode.UNAVAILABLE)
                return
            self._publisher.publish(outcome, batches)
        except RedisError as error:
            # The edges send the batches again; the sweep finds what they cannot.
            log.warning("publish_failed", batches=_ids(batches), error=str(error))

    def handle_alone(self, event: Event) -> Answer:
        """Handle an event that no edge waits for, publish what follows, and return its answer.

        A failed one is a dead letter, and doing it twice changes nothing, as with batches. Raises
        Unreachable, and redis.RedisError when it may be stored but not published.
        """
        outcome = self._attempt([event], self._rules)
        self._publisher.publish(Outcome(emits=outcome.emits))
        (answer,) = outcome.answers
        return answer

    def _attempt(self, events: Sequence[Event], rules: Rules) -> Outcome:
        """Handle events together, or else in halves, down to the one that is at fault.

        What somebody keeps locked is no fault of an event: it is answered, and the rest is handled.
        """
        if not events:
            return Outcome()
        try:
            return self._transact(events, rules)
        except RedisError:
            raise
        except Exception as error:
            if _is_unreachable(error):
                raise Unreachable(str(error).partition("\n")[0]) from error
            if rules.patient and _is_locked(error):
                log.warning("batch_waited_for_lock", events=len(events))
                if not self._is_hurried():
                    self._hurry_until = monotonic() + _HURRY_S
                sleep(_BREATH_S)
                return self._attempt(events, replace(rules, patient=False))
            if len(events) == 1:
                return self._give_up(events[0], error)
            log.warning("batch_split", events=len(events), error=type(error).__name__)
            middle = len(events) // 2
            outcome = self._attempt(events[:middle], rules)
            outcome.extend(self._attempt(events[middle:], rules))
            return outcome

    def _transact(self, events: Sequence[Event], rules: Rules) -> Outcome:
        requests, refused = _decode(events)
        for tries_left in reversed(range(_TRIES)):
            try:
                with self._connect(requests, rules) as conn:
                    outcome = Outcome(answers=list(refused))
                    for name, handler in HANDLERS.items():
                        if name in requests:
                            outcome.extend(handler(conn, requests[name], rules))
                return outcome
            except DBAPIError as error:
                if not tries_left or not isinstance(error.orig, _COLLISIONS):
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def _connect(self, kinds: Collection[str], rules: Rules) -> Iterator[Connection]:
        """Give a connection in a transaction, or in none where each statement may commit alone."""
        is_hurried = not rules.patient or self._is_hurried()
        if self._pooled or is_hurried or not _TOGETHER.isdisjoint(kinds):
            with self._engine.begin() as conn:
                if is_hurried:
                    conn.execute(_HURRIED)
                yield conn
        else:
            with self._statements.connect() as conn:
                yield conn

    def _is_hurried(self) -> bool:
        return monotonic() < self._hurry_until

    def _give_up(self, event: Event, error: Exception) -> Outcome:
        if isinstance(error, DBAPIError) and isinstance(error.orig, _LATE):
            return Outcome(answers=[_failed(event, ErrorCode.UNAVAILABLE)])
        log.error("event_failed", event_id=event.id, name=event.name, error=type(error).__name__)
        try:
            dead_letters.keep(self._engine, event, error)
        except SQLAlchemyError as failure:
            log.error("dead_letter_lost", event_id=event.id, error=type(failure).__name__)
        return Outcome(answers=[_failed(event, ErrorCode.INTERNAL)])


def _portions(events: Sequence[Event]) -> list[Sequence[Event]]:
    """Cut where pages would fill the memory; else return the events as they are."""
    cuts = [0]
    pages: list[str] = []
    for index, event in enumerate(events):
        if event.name in _PAGES:
            if len(pages) == _PAGES_MAX or pages.count(event.user_id) == _PAGES_OF_USER:
                cuts.append(index)
                pages.clear()
            pages.append(event.user_id)
    return [events[start:end] for start, end in pairwise([*cuts, len(events)])]


def _ids(batches: Sequence[Batch]) -> list[str]:
    return [batch.id for batch in batches]


def _is_unreachable(error: Exception) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    # No SQLSTATE: the connection never came about, or it broke; or psycopg itself did not take a value.
    # 53, 57P: out of resources, shutting down. 25P03: the transaction was idle for too long.
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate is None:
        return error.connection_invalidated or not isinstance(error.orig, psycopg.DataError)
    return error.connection_invalidated or sqlstate.startswith(("08", "25P03", "53", "57P"))


def _is_locked(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and isinstance(error.orig, pg.LockNotAvailable)


def _decode(events: Sequence[Event]) -> tuple[dict[str, list[Request[Any]]], list[Answer]]:
    requests: dict[str, list[Request[Any]]] = {}
    refused: list[Answer] = []
    for event in events:
        try:
            requests.setdefault(event.name, []).append(decode(event))
        except Refused as refusal:
            refused.append(_failed(event, refusal.code, refusal.message))
    return requests, refused


def _failed(event: Event, code: ErrorCode, message: str | None = None) -> Answer:
    return Answer(event.id, failure=Failure.of(code, message, commands.client_id_of(event.payload)))
