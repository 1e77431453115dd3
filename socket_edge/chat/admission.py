"""Signs clients in: checks them, greets them, and cleans up when they leave."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import msgspec
import structlog

from infra.wire import events
from infra.wire.commands import Auth, BroadcastPresence
from infra.wire.errors import ErrorCode, Failure, Rejection
from infra.wire.inbox import Answer
from infra.wire.registry import ANNOUNCE
from socket_edge import metrics
from socket_edge.auth import Authenticator, Identity
from socket_edge.auth.refusal_log import CONNECT, RefusalLog, explain
from socket_edge.auth.rejections import RefusalReason
from socket_edge.chat.presence import EdgePresence
from socket_edge.chat.session import ConnectedUsers, Session
from socket_edge.connection.api import Connection, DisconnectReason
from socket_edge.delivery.catch_up import CatchUps
from socket_edge.limits.origins import Origins
from socket_edge.limits.users import UserLimiter
from socket_edge.relay.lanes import Lanes
from socket_edge.relay.pending import answered
from socket_edge.tasks import Tasks

log = structlog.get_logger(__name__)


_PAUSE_S = 1.0
"""Pause before a full lane is tried again, in seconds."""


class Admission:
    """Admits clients and cleans up after them. `sockets_per_user` limits a user's sockets; 0 is no limit."""

    def __init__(
        self,
        authenticator: Authenticator,
        origins: Origins,
        limiter: UserLimiter,
        users: ConnectedUsers,
        presence: EdgePresence,
        lanes: Lanes,
        catch_ups: CatchUps,
        tasks: Tasks,
        sockets_per_user: int,
        refusals: RefusalLog,
    ) -> None:
        self._authenticator = authenticator
        self._origins = origins
        self._limiter = limiter
        self._users = users
        self._presence = presence
        self._lanes = lanes
        self._catch_ups = catch_ups
        self._tasks = tasks
        self._sockets_per_user = sockets_per_user
        self._refusals = refusals
        self.unannounced: Counter[str] = Counter()
        """Users who came or left, as long as no worker has told their peers."""

    async def admit(self, connection: Connection, auth: str | None) -> Session:
        """Return the session of a client with a valid token and an allowed origin. Raises Rejection."""
        try:
            identity = await self._identify(connection, auth)
        except Rejection as rejection:
            reason, _, _ = explain(rejection)
            metrics.SIGN_INS.counts[rejection.code if reason is RefusalReason.OTHER else reason,] += 1
            raise
        return Session(connection, connection.socket_id, identity, lane=self._lanes.choose())

    async def _identify(self, connection: Connection, auth: str | None) -> Identity:
        with self._refusals.recorded(CONNECT):
            self._origins.check(connection.origin, connection.host)
            identity = await self._authenticator.authenticate(_read_token(auth))
        self._limiter.sign_in(identity.user_id)
        return identity

    def welcome(self, session: Session) -> None:
        """Greet an admitted client, and start its catch-up."""
        metrics.SIGN_INS.counts["ok",] += 1
        log.info("client_connected", user=session.user_id, sid=session.socket_id)
        if session.user_id not in self._users:
            self._tasks.start(self._announce(session))
        self._users.add(session)
        self._make_room(session.user_id)
        self._greet(session)
        session.registering = asyncio.get_running_loop().create_future()
        session.catching_up = self._tasks.start(self._catch_up(session, session.registering))

    def leave(self, session: Session, reason: DisconnectReason) -> None:
        """Forget a client; tell the peers if it was the user's last here."""
        self._users.remove(session)
        metrics.DISCONNECTS.counts[reason, "yes"] += 1
        log.info("client_disconnected", user=session.user_id, sid=session.socket_id, reason=reason)
        if session.catching_up is not None:
            session.catching_up.cancel()
        if session.user_id not in self._users:
            self._tasks.start(self._announce(session))

    def _make_room(self, user_id: str) -> None:
        """End the surplus sessions of a user, the oldest first: they are the most likely to be dead."""
        sessions = list(self._users.of_user(user_id))
        surplus = len(sessions) - self._sockets_per_user if self._sockets_per_user else 0
        for session in sessions[: max(0, surplus)]:
            message = "Too many connections: this one, your oldest, was closed."
            failure = Failure.of(ErrorCode.RATE_LIMITED, message)
            session.send(events.ERROR, events.error_event(failure))
            session.end(DisconnectReason.TOO_MANY_SOCKETS)

    def _greet(self, session: Session) -> None:
        identity = session.identity
        now = events.iso_ms(datetime.now(UTC))
        hello = events.ConnectionSuccess(
            user_id=identity.user_id,
            socket_id=session.socket_id,
            server_time=now,
            expires_at=events.iso_ms(datetime.fromtimestamp(identity.expires_at, UTC)),
            username=identity.username or msgspec.UNSET,
        )
        test = events.TestMessage(message="Connected to BB-Gram chat.", timestamp=now)
        session.send(events.CONNECTION_SUCCESS, hello)
        session.send(events.TEST_MESSAGE, test, session.connection.next_ack_id())

    async def _catch_up(self, session: Session, registering: asyncio.Future[None]) -> None:
        # Register before reading the backlog: whatever is committed after that read reaches this edge.
        try:
            await self._presence.register(session.user_id)
        finally:
            registering.set_result(None)
            session.registering = None
        await self._catch_ups.run(session)

    async def _announce(self, session: Session) -> None:
        """Have a worker tell the peers whether the user is online, once that is registered."""
        self.unannounced[session.user_id] += 1
        await self._presence.register(session.user_id)
        while True:
            failure = (await self._ask_to_announce(session)).failure
            if failure is None or not failure.code.retryable:
                break
            await asyncio.sleep(_PAUSE_S)
        # A join and a leave may both be under way.
        self.unannounced[session.user_id] -= 1
        if not self.unannounced[session.user_id]:
            del self.unannounced[session.user_id]

    async def _ask_to_announce(self, session: Session) -> Answer:
        payload = msgspec.json.encode(BroadcastPresence())
        return await answered(
            lambda settle: self._lanes.relay(
                session.lane, ANNOUNCE, session.user_id, payload, settle, expires=False
            )
        )


def _read_token(auth: str | None) -> str:
    try:
        return msgspec.json.decode(auth or "", type=Auth).token
    except (msgspec.DecodeError, RecursionError) as error:
        raise Rejection(ErrorCode.UNAUTHORIZED, "Connect with `auth: {token}`.") from error
