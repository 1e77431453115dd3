"""The sessions of this edge, and what each socket has been sent."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import msgspec

from infra.wire import events
from infra.wire.errors import Failure
from infra.wire.inbox import Emit, Position, Target
from socket_edge.auth import Identity
from socket_edge.connection.api import Connection, DisconnectReason
from socket_edge.interval_set import IntervalSet

_UNACKED = 10_000
"""Most acks a socket may owe. Beyond that, the oldest are forgotten and their messages are sent again."""


@dataclass(slots=True, eq=False)
class Session:
    """One sign-in on a connection. Nothing it sends reaches a later sign-in on the same connection."""

    connection: Connection
    socket_id: str
    identity: Identity
    lane: int
    unanswered: int = 0
    """Events of the client that are not answered yet."""
    is_leaving: bool = False
    """Whether the edge is shutting down: the connection ends once everything is answered."""
    is_warned: bool = False
    """Whether the client knows that its token is about to expire."""
    next_ping_at: float = 0.0
    """Monotonic time, in seconds."""
    ping: tuple[int, float] | None = None
    """Ack id of the ping that is on its way, and the monotonic time at which it left."""
    signed_out_ms: int = -1
    """When the user was last signed out everywhere, in ms since the epoch, as far as this edge knows."""
    has_profile: bool = False
    """Whether the user's profile was ensured, or will be before the next event."""
    registering: asyncio.Future[None] | None = None
    """Done, and gone, once Redis knows that the user has a socket here."""
    catching_up: asyncio.Task[None] | None = None
    lost_since: float | None = None
    """Monotonic time since which publications may be missing, until a catch-up takes it over."""
    held: list[tuple[Target, Emit]] = field(default_factory=list)
    """New messages that wait until older ones have been sent."""
    seen: dict[str, IntervalSet] = field(default_factory=lambda: defaultdict(IntervalSet))
    """By chat: seqs that were emitted to this socket, so that none is emitted twice."""
    confirmed: dict[str, IntervalSet] = field(default_factory=lambda: defaultdict(IntervalSet))
    """By chat: seqs that this socket has acked or read, and the user's own messages in between."""
    has_acked: bool = False
    """Whether the client has ever acked a message."""
    unacked: dict[int, Position] = field(default_factory=dict)
    """Messages that the client has not acked yet, by ack id."""
    page_acked: asyncio.Event | None = None
    """Set once the client has acked everything; there is one only while a page waits for its acks."""

    @property
    def user_id(self) -> str:
        """Id of the user whose token opened the socket."""
        return self.identity.user_id

    def send_event(self, name: str, data: bytes, ack_id: int | None = None) -> None:
        """Send an event with rendered JSON, unless the client has signed out."""
        if self.connection.session is self:
            self.connection.send_event(name, data, ack_id)

    def send(self, name: str, payload: msgspec.Struct, ack_id: int | None = None) -> None:
        """Render and send an event."""
        self.send_event(name, msgspec.json.encode(payload), ack_id)

    def send_ack(self, ack_id: int | None, data: bytes) -> None:
        """Answer the client's event `ack_id` with rendered JSON. With None, the client wants no answer."""
        if ack_id is not None and self.connection.session is self:
            self.connection.send_ack(ack_id, data)

    def fail(self, ack_id: int | None, event: str | None, failure: Failure) -> None:
        """Report a failed request as documented: in its ack, and as an `error` event."""
        if ack_id is not None:
            self.send_ack(ack_id, msgspec.json.encode(events.error_ack(failure)))
        self.send(events.ERROR, events.error_event(failure, event))

    @property
    def is_signed_out(self) -> bool:
        """Whether the user was signed out everywhere since the token was issued."""
        return self.identity.is_issued_by(self.signed_out_ms)

    def end(self, reason: DisconnectReason) -> None:
        """End the sign-in or its connection, unless the client has signed out."""
        if self.connection.session is self:
            self.connection.end(reason)

    def take_lost_since(self) -> float | None:
        """Return `lost_since` and reset it."""
        since, self.lost_since = self.lost_since, None
        return since

    def expect_ack(self, position: Position) -> int:
        """Note that the client is asked to ack a message; return the ack id."""
        ack_id = self.connection.next_ack_id()
        self.unacked[ack_id] = position
        if len(self.unacked) > _UNACKED:
            del self.unacked[next(iter(self.unacked))]
        return ack_id


class ConnectedUsers:
    """The sessions of this edge, by user. A user may have several."""

    def __init__(self) -> None:
        self._by_user: dict[str, list[Session]] = {}
        self._count = 0

    def add(self, session: Session) -> None:
        """Add a session, which is the user's newest."""
        self._by_user.setdefault(session.user_id, []).append(session)
        self._count += 1

    def remove(self, session: Session) -> None:
        """Remove a session."""
        sessions = self._by_user[session.user_id]
        sessions.remove(session)
        self._count -= 1
        if not sessions:
            del self._by_user[session.user_id]

    def of_user(self, user_id: str) -> Collection[Session]:
        """Return the user's sessions as they are now, the oldest first."""
        return list(self._by_user.get(user_id, ()))

    def sign_out(self, user_id: str, moment_ms: int) -> None:
        """End the user's sessions whose tokens were issued until then, in ms since the epoch."""
        for session in self.of_user(user_id):
            session.signed_out_ms = max(session.signed_out_ms, moment_ms)
            if session.is_signed_out:
                session.send(events.ERROR, events.signed_out())
                session.end(DisconnectReason.SIGNED_OUT)

    def user_ids(self) -> Collection[str]:
        """Return the users that have a session here."""
        return self._by_user.keys()

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._by_user

    def __iter__(self) -> Iterator[Session]:
        return iter([session for sessions in self._by_user.values() for session in sessions])

    def __len__(self) -> int:
        return self._count
