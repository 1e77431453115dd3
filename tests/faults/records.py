"""What clients saw during a run, and what the database holds afterwards."""

from dataclasses import dataclass, field
from typing import Literal

from infra.wire.errors import ErrorCode


@dataclass(slots=True)
class Try:
    """One request on one connection. Times are monotonic seconds."""

    connection: int
    sent_at: float
    ended_at: float | None = None
    """When the answer came or the connection ended; None if neither has."""
    code: str | None = None
    """`ok`, the code of the failure, or `cut` if the connection ended first."""

    @property
    def is_final(self) -> bool:
        """Whether a correct client stops retrying."""
        if self.code in (None, "cut"):
            return False
        return self.code == "ok" or not ErrorCode(self.code).retryable


@dataclass(slots=True)
class Sent:
    """A message that a client wants stored once, however often it tries."""

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
        last = self.tries[-1] if self.tries else None
        return last.ended_at if last and last.code == "ok" else None

    @property
    def is_refused(self) -> bool:
        """Whether the client has stopped trying without an ack."""
        return self.message_id is None and bool(self.tries) and self.tries[-1].is_final


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
class Change:
    """A change of a message that a client wants made once, however often it tries.

    A client makes its changes of a message one after another.
    """

    user_id: str
    chat_id: str
    seq: int
    kind: Literal["edit", "unsend", "react"]
    value: str = ""
    """The new text, or the emoji."""
    on: bool = True
    """Whether a reaction is to be there."""
    tries: list[Try] = field(default_factory=list)

    @property
    def is_acked(self) -> bool:
        """Whether the client was told that the change is stored."""
        return bool(self.tries) and self.tries[-1].code == "ok"

    @property
    def is_refused(self) -> bool:
        """Whether the client has stopped trying without an ack."""
        return bool(self.tries) and self.tries[-1].is_final and not self.is_acked


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


@dataclass
class Records:
    """All of a run."""

    sent: list[Sent] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    delivered: list[Delivered] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    copies: dict[tuple[str, str, int], tuple[int, State]] = field(default_factory=dict)
    """By user, chat and seq: the change and the state of each message that they know, after a last sync."""
    synced: dict[tuple[str, str, int], tuple[int, State]] = field(default_factory=dict)
    """The same, of what they know from `sync` alone."""
    stored: list[Stored] = field(default_factory=list)
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
