"""What an edge sends to workers: a batch of events in the order of arrival."""

from typing import Final

import msgspec

VERSION: Final = 1
"""The newest version of batches that this release knows. docs/architecture.md says when it changes."""


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One event. `payload` is the client's own JSON. Only its syntax was checked."""

    id: str
    """UUIDv7 made by the edge. It becomes the id of the message that a send stores."""
    name: str
    user_id: str
    socket_id: str
    payload: msgspec.Raw
    expires_ms: int = 0
    """Redis time in ms since the epoch after which nobody waits for the answer; 0 if it never expires."""
    trace: str | None = None
    """The `traceparent` of a traced event."""


class Batch(msgspec.Struct, frozen=True):
    """Events of one lane. If no result comes in time, the batch is sent again with the same `id`."""

    id: str
    edge_id: str
    events: list[Event]
    v: int = VERSION

    @property
    def is_too_new(self) -> bool:
        """Whether only a newer release can read it."""
        return self.v > VERSION


class Envelope(msgspec.Struct, frozen=True):
    """What each release reads of a batch, whatever its version: where it comes from."""

    id: str
    edge_id: str
    v: int
