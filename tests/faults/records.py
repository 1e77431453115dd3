"""What clients saw during a run, and what the database holds afterwards."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from tests.faults.wanted import Try, Wanted


@dataclass(slots=True)
class Sent(Wanted):
    """A message."""

    sender: str
    recipient: str
    """Ids of the users."""
    text: str
    """No other message has the same."""
    tries: list[Try] = field(default_factory=list)
    message_id: str | None = None
    """From the ack; None until there is one."""
    is_poison: bool = False
    """Whether it is meant to be refused."""

    @property
    def acked_at(self) -> float | None:
        """When the client was told that the message is stored."""
        return self.ended_at if self.is_acked else None


@dataclass(slots=True)
class Asked:
    """Any other request. A client makes it once and never retries."""

    user_id: str
    event: str
    attempt: Try
    chat_id: str | None = None
    up_to: int = 0
    """Of a `mark_as_read`."""


@dataclass(frozen=True, slots=True)
class State:
    """What a message is after some changes."""

    text: str
    is_unsent: bool = False
    reactions: frozenset[tuple[str, str]] = frozenset()
    """Pairs of an emoji and the id of a user."""


@dataclass(slots=True)
class Change(Wanted):
    """A change of a message. A client makes its changes of a message one after another."""

    user_id: str
    chat_id: str
    seq: int
    kind: Literal["edit", "unsend", "react"]
    value: str = ""
    """The new text, or the emoji."""
    on: bool = True
    """Whether a reaction is to be there."""
    tries: list[Try] = field(default_factory=list)


@dataclass(slots=True)
class Block(Wanted):
    """A block, or the end of one. A client asks for these in turn, one after another."""

    user_id: str
    peer_id: str
    on: bool = True
    """Whether the peer is to be blocked."""
    tries: list[Try] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Seen:
    """A changed message, as a client was told of it."""

    chat_id: str
    seq: int
    change: int
    state: State


@dataclass(frozen=True, slots=True)
class Delivered:
    """A `new_message` that a client received."""

    user_id: str
    connection: int
    message_id: str
    at: float
    """Monotonic seconds."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the table of messages."""

    id: str
    chat_id: str
    seq: int
    sender: str
    recipient: str
    text: str
    """As it was sent."""
    change: int = 0
    """0 if nobody has changed it."""
    state: State | None = None
    """What it is, if somebody has changed it."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event that the app's backend has accepted: of a message that was created, or changed."""

    event_id: str
    number: int
    chat_id: str
    seq: int
    message_id: str
    change: int
    """0 if the message was created."""
    text: str


@dataclass
class Records:
    """All of a run."""

    sent: list[Sent] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    delivered: list[Delivered] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    copies: dict[tuple[str, str, int], tuple[int, State]] = field(default_factory=dict)
    """By user, chat and seq: the change and the state of each message that they know, after a last sync."""
    synced: dict[tuple[str, str, int], tuple[int, State]] = field(default_factory=dict)
    """The same, of what they know from `sync` alone."""
    listed: dict[str, set[str]] = field(default_factory=dict)
    """By user: whom they block, as `list_chats` tells them after the last sync."""
    told: list[Told] | None = None
    """What the app's backend has accepted, in order; None if nobody tells it anything."""
    stored: list[Stored] = field(default_factory=list)
    blocked: set[tuple[str, str]] = field(default_factory=set)
    """Users and whom they block, in the database."""
    last_seqs: dict[str, int] = field(default_factory=dict)
    """The last seq of each chat."""
    last_changes: dict[str, int] = field(default_factory=dict)
    """The last change of each chat."""
    watermarks: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """By chat and user: the delivered and the read watermark."""
    healed_at: float = 0.0
    """When the fault was repaired."""
    ended_at: float = 0.0
    """When the clients stopped sending."""
    margin_s: float = 0.0
    """By how much each time that is promised may be exceeded, where others share the machine."""

    def tries(self) -> Iterator[Try]:
        """Yield every request that was made."""
        for wanted in (*self.sent, *self.changes, *self.blocks):
            yield from wanted.tries
        for one in self.asked:
            yield one.attempt
