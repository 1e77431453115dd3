"""Processes dead letters again, once their cause is fixed.

Nobody waits for the answer: the client was told `internal` long ago, and its socket is gone. Other users
receive the effects wherever they are now. An event whose meaning has changed since it was sent is left to
an operator.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Engine, text

from infra.wire.batch import Event
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.registry import COMMANDS
from workers import dead_letters
from workers.batch_processor import BatchProcessor
from workers.dead_letters import Letter
from workers.requests import decode

_NO_SOCKET: Final = ""
"""No socket is excluded from what is emitted."""

_NOTIFICATION: Final = "push"
"""The event of a notification that was given up. Functions send notifications, not batches."""

_REOPEN = text(
    """
    UPDATE notifications SET finished_at = NULL, outcome = NULL, tries = 0, next_at = now()
    WHERE id = CAST(:id AS uuid) AND created_at > now() - interval '24 hours'
    RETURNING id
    """
)
_FORGET = text("DELETE FROM dead_letters WHERE id = CAST(:id AS uuid)")


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a replay."""

    letter: Letter
    done: bool
    """Whether the letter is gone, because there is nothing left to do."""
    outcome: str
    """One line for people."""


def replay(engine: Engine, processor: BatchProcessor, letter: Letter) -> Replay:
    """Process the event of a letter, and remove the letter if that succeeds.

    The event keeps its id, so nothing is stored twice. Raises `batch_processor.Unreachable`, redis.RedisError
    and sqlalchemy.exc.SQLAlchemyError; then the letter stays.
    """
    if letter.event == _NOTIFICATION:
        return _reopen(engine, letter)
    payload = msgspec.Raw(letter.payload.encode())
    event = Event(letter.id, letter.event, letter.user_id, _NO_SOCKET, payload)
    if reason := _too_late(event):
        return Replay(letter, False, f"too late: {reason}")
    failure = processor.process_alone(event).failure
    if failure is None:
        dead_letters.drop(engine, [letter.id])
        return Replay(letter, True, "replayed")
    if failure.code is ErrorCode.INTERNAL:
        kept = dead_letters.find(engine, letter.id) or letter
        return Replay(letter, False, f"failed again: {kept.headline}")
    return Replay(letter, False, f"not possible: {failure.code}, {failure.message}")


def _too_late(event: Event) -> str | None:
    """Return why it is too late to process the event, or None."""
    try:
        payload = decode(event).command
    except Rejection:
        return None  # It is rejected when it is processed.
    command = COMMANDS[event.name]
    if command.is_ephemeral:
        return f"`{event.name}` is out of date"
    if command.stale_unless is not None and getattr(payload, command.stale_unless) is not None:
        return None
    return command.stale_because


def _reopen(engine: Engine, letter: Letter) -> Replay:
    """Let `offline_delivery` queue the notification again. If it fails again, it is a new letter."""
    with engine.begin() as conn:
        if conn.execute(_REOPEN, {"id": letter.id}).one_or_none() is None:
            return Replay(letter, False, "too late: the notification is older than a day")
        conn.execute(_FORGET, {"id": letter.id})
    return Replay(letter, True, "the next run of offline_delivery queues the notification")
