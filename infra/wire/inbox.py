"""What workers send to an edge: complete instructions, so that the edge needs no business rule."""

from collections.abc import Iterator
from typing import Final

import msgspec

from infra.wire.errors import ErrorCode, Failure
from infra.wire.events import send_ack

VERSION: Final = 1
"""The newest version of entries that this release knows. docs/architecture.md says when it changes."""


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Position of a message, by which an edge emits it once per socket and confirms its delivery."""

    chat_id: str
    seq: int


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one event of a batch: `data` is the ack, unless `failure` says what went wrong."""

    id: str
    """Id of the event."""
    data: msgspec.Raw = msgspec.Raw(b"null")
    failure: Failure | None = None
    acked_up_to: Position | None = None
    """Messages up to this position, if sent to the asking socket, need no client ack any more."""


class Target(msgspec.Struct, frozen=True, array_like=True):
    """All sockets of a user on this edge, or all but one, and the event that they receive."""

    user_id: str
    event: str
    ack: bool = False
    """Whether clients are asked for an ack, which confirms the delivery."""
    skip: str | None = None
    """Id of the one socket that does not receive it."""


class Emit(msgspec.Struct, frozen=True, omit_defaults=True):
    """Send `data` to each target. A message travels once, however many sockets receive it."""

    to: list[Target]
    data: msgspec.Raw
    position: Position | None = None
    """Set for messages: the position that identifies it on each socket."""
    answers: str | None = None
    """Event whose ack holds this message, so that a message travels once. See `InboxEntry.all_answers`."""
    trace: str | None = None
    """The `traceparent` of a traced event that has led to it."""
    signed_out_ms: int | None = None
    """End the sessions whose tokens were issued until then, in ms since the epoch, and send `data` to no
    other. An edge of the previous release sends `data` to all, and ends none."""


class InboxEntry(msgspec.Struct, frozen=True):
    """An entry of an edge's inbox stream: one line with these fields, then one line per further `Emit`."""

    batch_id: str | None = None
    """The batch of this edge that is done with this entry."""
    retry: ErrorCode | None = None
    """Set if the batch could not be handled: the edge sends it again until its deadline."""
    answers: list[Answer] = []
    emits: list[Emit] = []
    v: int = VERSION

    @property
    def is_too_new(self) -> bool:
        """Whether only a newer release can read it."""
        return self.v > VERSION

    def all_answers(self) -> Iterator[Answer]:
        """Yield all answers: those in `answers`, and those that emits hold."""
        yield from self.answers
        for emit in self.emits:
            if emit.answers is not None:
                yield Answer(emit.answers, send_ack(emit.data))


class Envelope(msgspec.Struct, frozen=True):
    """What each release reads of an entry, whatever its version: the batch to which it belongs."""

    v: int
    batch_id: str | None = None


def decode_entry(data: bytes) -> InboxEntry:
    """Decode a stream entry. One that is too new only asks to send its batch again.

    Raises msgspec.DecodeError and UnicodeDecodeError.
    """
    head, _, lines = data.partition(b"\n")
    try:
        entry = _entries.decode(head)
    except msgspec.ValidationError:
        entry = InboxEntry(v=_envelopes.decode(head).v)
        if not entry.is_too_new:
            raise
    if entry.is_too_new:
        return InboxEntry(_envelopes.decode(head).batch_id, retry=ErrorCode.UNAVAILABLE, v=entry.v)
    if lines:
        entry.emits.extend(_emits.decode_lines(lines))
    return entry


class PendingMessage(msgspec.Struct, frozen=True, array_like=True):
    """An undelivered message in a catch-up page."""

    position: Position
    data: msgspec.Raw


class Ahead(msgspec.Struct, frozen=True, array_like=True):
    """A chat with undelivered messages, and where they go on."""

    chat_id: str
    seq: int
    """Seq after which the next undelivered message comes."""
    at_us: int
    """Time of that message, in microseconds since the epoch."""


class CatchUpPage(msgspec.Struct, frozen=True):
    """Answer to `catch_up`: a page of undelivered messages, oldest first."""

    messages: list[PendingMessage]
    next: dict[str, int] | None = None
    """For an edge of the previous release: by chat, the last seq that has been read. None at the end."""
    ahead: list[Ahead] | None = None
    """The chats that were asked for or looked up, and have more. None from an older worker."""
    chats_after: str | None = None
    """The chat after which more chats are to be looked up. None if there are no more."""


_entries = msgspec.json.Decoder(InboxEntry)
_emits = msgspec.json.Decoder(Emit)
_envelopes = msgspec.json.Decoder(Envelope)
