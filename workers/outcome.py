"""The results of a batch's requests: answers, and events for other sockets."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import msgspec

from infra.wire.batch import Event
from infra.wire.commands import client_id_of
from infra.wire.errors import Rejection
from infra.wire.inbox import Answer, Emit, Position, Target
from workers.requests import Request


@dataclass(slots=True)
class Outcome:
    """One answer for each request, and the events that other sockets receive."""

    answers: list[Answer] = field(default_factory=list)
    emits: list[Emit] = field(default_factory=list)

    def succeed(
        self, request: Request[Any], ack: msgspec.Struct, *, acked_up_to: Position | None = None
    ) -> None:
        """Answer `request` with `ack`. See `Answer` for `acked_up_to`."""
        data = msgspec.Raw(msgspec.json.encode(ack))
        self.answers.append(Answer(request.id, data, acked_up_to=acked_up_to))

    def reject(self, asked: Request[Any] | Event, rejection: Rejection) -> None:
        """Answer a request, or an event that was not decoded, with the reason why it is refused."""
        self.answers.append(Answer(asked.id, failure=rejection.failure(client_id_of(asked.payload))))

    def rejections(self, asked: Request[Any] | Event) -> AbstractContextManager[None]:
        """Return a context that answers a request or an event with any Rejection raised in it."""
        return _Rejections(self, asked)

    def emit(self, user_id: str, event: str, payload: msgspec.Struct, *, skip: str | None = None) -> None:
        """Emit `payload` to all sockets of `user_id`, but not to the socket `skip`."""
        data = msgspec.Raw(msgspec.json.encode(payload))
        self.emits.append(Emit([Target(user_id, event, skip=skip)], data))

    def extend(self, other: "Outcome") -> None:
        """Append the answers and emits of `other`."""
        self.answers += other.answers
        self.emits += other.emits


class _Rejections(AbstractContextManager[None]):
    """Every event passes here, and `@contextmanager` would take four times as long."""

    __slots__ = ("_asked", "_outcome")

    def __init__(self, outcome: Outcome, asked: Request[Any] | Event) -> None:
        self._outcome = outcome
        self._asked = asked

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Rejection):
            return False
        self._outcome.reject(self._asked, error)
        return True
