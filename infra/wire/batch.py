"""What an edge sends to the workers: a batch of client events, in the order of arrival."""

import msgspec


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One client event. `payload` is the client's own JSON, checked for syntax only."""

    id: str
    """UUIDv7 made by the edge; becomes the id of the message that a send stores."""
    name: str
    user_id: str
    socket_id: str
    payload: msgspec.Raw
    expires_ms: int = 0
    """Redis time (ms since the epoch) after which nobody waits for the answer; 0 for never."""


class Batch(msgspec.Struct, frozen=True):
    """Events of one lane. Sent again with the same `id` when no result came in time."""

    id: str
    edge_id: str
    events: list[Event]
    v: int = 1
