"""Lanes that record what is relayed, and answer when the test says so."""

from typing import Any

import msgspec

from infra.wire.errors import ErrorCode, Failure
from infra.wire.inbox import Answer, Position
from socket_edge.relay.pending import Settle


class Relayed(msgspec.Struct):
    """An event on its way to a worker."""

    lane: int
    name: str
    user_id: str
    payload: Any
    settle: Settle
    socket_id: str
    expires: bool

    def answer(self, data: Any = None, *, acked_up_to: Position | None = None) -> None:
        """Answer as a worker would."""
        self.settle(Answer("id", msgspec.Raw(msgspec.json.encode(data)), acked_up_to=acked_up_to))

    def fail(self, code: ErrorCode) -> None:
        """Refuse as a worker would."""
        self.settle(Answer("id", failure=Failure.of(code)))


class RecordingLanes:
    """Takes the place of `Lanes`."""

    def __init__(self) -> None:
        self.relayed: list[Relayed] = []
        self.chosen = 0

    def choose(self) -> int:
        """Return the next lane."""
        self.chosen += 1
        return self.chosen

    def relay(
        self,
        lane: int,
        name: str,
        user_id: str,
        payload: bytes,
        settle: Settle = lambda _: None,
        *,
        socket_id: str = "",
        expires: bool = True,
        trace: str | None = None,
    ) -> None:
        """Record an event."""
        decoded = msgspec.json.decode(payload)
        self.relayed.append(Relayed(lane, name, user_id, decoded, settle, socket_id, expires))

    def names(self) -> list[str]:
        """Return the names of the events, in order."""
        return [one.name for one in self.relayed]

    def of(self, name: str) -> list[Relayed]:
        """Return the events with this name."""
        return [one for one in self.relayed if one.name == name]
