"""What workers send to an edge: ready-made instructions, so that the edge needs no business rule."""

import msgspec

from infra.wire.errors import ErrorCode, Failure


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a message stands: lets an edge emit it once per socket and confirm its delivery."""

    chat_id: str
    seq: int


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one event of the batch: `data` is the ack, or `failure` says why not."""

    id: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    failure: Failure | None = None


class Target(msgspec.Struct, frozen=True, array_like=True):
    """Every socket that `user_id` has on this edge, or all but one, and the name of the event it gets."""

    user_id: str
    event: str
    ack: bool = False
    """Ask the client for an ack and confirm the delivery when it comes."""
    skip: str | None = None
    """Id of a socket to leave out."""


class Emit(msgspec.Struct, frozen=True, omit_defaults=True):
    """Send `data` to each of the targets; a message travels once for all who get it."""

    to: list[Target]
    data: msgspec.Raw
    position: Position | None = None
    answers: str | None = None
    """The event of the batch whose ack tells that this message is stored (`infra.wire.events.send_ack`)."""


class InboxEntry(msgspec.Struct, frozen=True):
    """One entry of an edge's inbox stream: a line with these fields, and a line for each further `Emit`."""

    batch_id: str | None = None
    """The batch of this edge that is hereby done."""
    retry: ErrorCode | None = None
    """Set when the batch could not be handled now: it is to be sent again until its deadline."""
    answers: list[Answer] = []
    emits: list[Emit] = []
    v: int = 1


def decode_entry(data: bytes) -> InboxEntry:
    """Return the entry of a stream. Raises msgspec.DecodeError."""
    head, _, lines = data.partition(b"\n")
    entry = _entries.decode(head)
    if lines:
        entry.emits.extend(_emits.decode_lines(lines))
    return entry


class PendingMessage(msgspec.Struct, frozen=True, array_like=True):
    """An undelivered message in a catch-up page."""

    position: Position
    data: msgspec.Raw


class CatchUpPage(msgspec.Struct, frozen=True):
    """Answer to `catch_up`: messages, oldest first, and where to go on (None at the end)."""

    messages: list[PendingMessage]
    next: dict[str, int] | None = None
    """How far each chat with something undelivered has come with this page."""


_entries = msgspec.json.Decoder(InboxEntry)
_emits = msgspec.json.Decoder(Emit)
