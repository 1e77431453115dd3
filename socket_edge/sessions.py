"""The connected-users map: who holds which sockets on this edge, and what each socket has seen."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from infra.wire.inbox import Emit, Position, Target
from socket_edge.auth import Identity
from socket_edge.seqs import Seqs

_UNACKED = 10_000
"""Acks that a socket may owe; the oldest are forgotten beyond that, and come again at the next connect."""


@dataclass(slots=True, eq=False)
class Session:
    """One authenticated socket."""

    sid: str
    eio_sid: str
    identity: Identity
    lane: int
    asked: int = 0
    """Events of the client that are not answered yet."""
    retiring: bool = False
    """Whether the edge stops: the client goes as soon as all is answered."""
    warned: bool = False
    """Whether the client knows that its token is about to expire."""
    next_ping_at: float = 0.0
    ping: tuple[int, float] | None = None
    """Ack id and monotonic time of the ping on its way."""
    introduced: bool = False
    """Whether the workers know the user, or get to know them before any event that follows."""
    catching_up: asyncio.Task[None] | None = None
    lost_since: float | None = None
    """Monotonic time since which publications may have been lost, until the socket has caught up."""
    held: list[tuple[Target, Emit]] = field(default_factory=list)
    """New messages that wait until the older ones have been sent."""
    seen: dict[str, Seqs] = field(default_factory=lambda: defaultdict(Seqs))
    """By chat: what was emitted to this socket, so that it is not emitted twice."""
    confirmed: dict[str, Seqs] = field(default_factory=lambda: defaultdict(Seqs))
    """By chat: what this socket has acked or read, and the user's own messages in between."""
    has_acked: bool = False
    """Whether the client is one that acks at all."""
    unacked: dict[int, Position] = field(default_factory=dict)
    page_acked: asyncio.Event = field(default_factory=asyncio.Event)
    _last_ack_id: int = 0

    @property
    def user_id(self) -> str:
        """Id of the user whose token opened the socket."""
        return self.identity.user_id

    def take_lost_since(self) -> float | None:
        """Return since when publications may be lost, and take it as dealt with."""
        since, self.lost_since = self.lost_since, None
        return since

    def next_ack_id(self) -> int:
        """Return an ack id that this socket has not used yet."""
        self._last_ack_id += 1
        return self._last_ack_id

    def expect_ack(self, position: Position) -> int:
        """Note that the client is to ack the message; return the ack id."""
        ack_id = self.next_ack_id()
        self.unacked[ack_id] = position
        if len(self.unacked) > _UNACKED:
            del self.unacked[next(iter(self.unacked))]
        return ack_id


class ConnectedUsers:
    """The sockets of this edge, by user. Several a user."""

    def __init__(self) -> None:
        self._by_sid: dict[str, Session] = {}
        self._by_user: dict[str, dict[str, Session]] = {}

    def add(self, session: Session) -> None:
        """Add a socket."""
        self._by_sid[session.sid] = session
        self._by_user.setdefault(session.user_id, {})[session.sid] = session

    def remove(self, sid: str) -> Session | None:
        """Remove a socket and return it, if it was there."""
        session = self._by_sid.pop(sid, None)
        if session is not None:
            sockets = self._by_user[session.user_id]
            del sockets[sid]
            if not sockets:
                del self._by_user[session.user_id]
        return session

    def get(self, sid: str) -> Session | None:
        """Return the session of a socket."""
        return self._by_sid.get(sid)

    def of_user(self, user_id: str) -> Collection[Session]:
        """Return the sockets of a user, as they are now."""
        return list(self._by_user.get(user_id, {}).values())

    def user_ids(self) -> Collection[str]:
        """Return the users that have a socket here."""
        return self._by_user.keys()

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._by_user

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_sid.values()))

    def __len__(self) -> int:
        return len(self._by_sid)
