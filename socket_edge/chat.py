"""What happens to a socket: admission, events, answers, farewell. The edge's half of every request."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from infra.wire import events
from infra.wire.commands import (
    ANNOUNCE,
    INTRODUCE,
    MARK_AS_READ,
    REFRESH_TOKEN,
    Announce,
    Introduce,
    MarkAsRead,
    RefreshToken,
)
from infra.wire.errors import ErrorCode, Failure
from infra.wire.inbox import Answer
from socket_edge.auth import Authenticator, Identity
from socket_edge.delivery.catch_up import CatchUps
from socket_edge.delivery.deliver import Delivery
from socket_edge.errors import EdgeError
from socket_edge.limits.events import BadEvent, ClientEvent, known_name, read_event, size_of
from socket_edge.limits.origins import Origins
from socket_edge.limits.quota import Quota, TooFast
from socket_edge.presence import Presence
from socket_edge.relay.lanes import Lanes
from socket_edge.relay.requests import OpenRequests
from socket_edge.sessions import ConnectedUsers, Session
from socket_edge.tasks import Tasks
from socket_edge.transport import Transport

log = structlog.get_logger(__name__)


class _Auth(msgspec.Struct):
    token: str


class Chat:
    """The transport's `Handler`."""

    def __init__(
        self,
        transport: Transport,
        authenticator: Authenticator,
        origins: Origins,
        users: ConnectedUsers,
        presence: Presence,
        requests: OpenRequests,
        lanes: Lanes,
        delivery: Delivery,
        catch_ups: CatchUps,
        quota: Quota,
        payload_bytes: int,
        sockets_per_user: int,
    ) -> None:
        self._transport = transport
        self._authenticator = authenticator
        self._origins = origins
        self._users = users
        self._presence = presence
        self._requests = requests
        self._lanes = lanes
        self._delivery = delivery
        self._catch_ups = catch_ups
        self._quota = quota
        self._payload_bytes = payload_bytes
        self._sockets_per_user = sockets_per_user
        self._tasks = Tasks()
        self._admitted: dict[str, Session] = {}
        """Sockets whose clients have not been told yet; nothing is emitted to them before."""

    async def connect(self, sid: str, eio_sid: str, auth: str | None, scope: dict[str, Any]) -> None:
        """Admit who shows a valid token from an allowed origin."""
        self._origins.check(scope)
        identity = await self._authenticator.authenticate(_read_token(auth))
        self._quota.sign_in(identity.user_id)
        self._admitted[sid] = Session(sid, eio_sid, identity, lane=self._lanes.choose())

    def connected(self, sid: str) -> None:
        """Welcome the client and let it catch up."""
        session = self._admitted.pop(sid)
        log.info("client_connected", user=session.user_id, sid=sid)
        is_first = session.user_id not in self._users
        self._users.add(session)
        self._make_room(session.user_id)
        self._greet(session)
        session.catching_up = self._tasks.start(self._register(session, is_first))

    def event(self, sid: str, ack_id: int | None, data: object) -> Coroutine[Any, Any, None] | None:
        """Refuse an event, answer it, or send it on its way to a worker."""
        session = self._users.get(sid)
        if session is None:
            return None
        try:
            self._quota.spend(session.user_id, size_of(data))
            event = read_event(data, self._payload_bytes)
        except TooFast as error:
            self._slow_down(session, ack_id, known_name(data), error)
            return None
        except BadEvent as error:
            self._fail(session, ack_id, error.event, error.failure())
            return None
        if event.name == REFRESH_TOKEN:
            return self._refresh_token(session, ack_id, event.payload)
        self._relay(session, ack_id, event)
        return None

    def acked(self, sid: str, ack_id: int) -> None:
        """Take a client's ack of a ping or of a message."""
        session = self._users.get(sid)
        if session is None:
            return
        if session.ping is not None and session.ping[0] == ack_id:
            log.debug("ping", user=session.user_id, round_trip_s=time.monotonic() - session.ping[1])
            session.ping = None
        self._delivery.acked(session, ack_id)

    def retire(self, sid: str) -> bool:
        """Let the client go once its requests are answered: the edge stops."""
        session = self._users.get(sid)
        if session is None or not session.asked:
            return False
        session.retiring = True
        return True

    def disconnected(self, sid: str, reason: str) -> None:
        """Forget the socket, and tell the peers if it was the user's last one here."""
        self._admitted.pop(sid, None)
        session = self._users.remove(sid)
        if session is None:
            return
        log.info("client_disconnected", user=session.user_id, sid=sid, reason=reason)
        if session.catching_up is not None:
            session.catching_up.cancel()
        if session.user_id not in self._users:
            self._tasks.start(self._leave(session))

    async def resync(self, since: float) -> None:
        """Have every socket catch up: publications may be lost since that monotonic time."""
        for session in self._users:
            session.lost_since = min(since, session.lost_since or since)
            if session.catching_up is None:
                session.catching_up = self._tasks.start(self._catch_up(session))

    async def drain(self, timeout_s: float) -> None:
        """Wait until what gone sockets have left behind is handled: sends, and farewells to their peers."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._tasks.wait()
                await self._requests.wait_settled()
        except TimeoutError:
            log.warning("drain_incomplete", requests=len(self._requests))

    def _make_room(self, user_id: str) -> None:
        """Part with the sockets that are too many, the oldest first: these are the least likely to live."""
        sockets = list(self._users.of_user(user_id))
        surplus = len(sockets) - self._sockets_per_user if self._sockets_per_user else 0
        for session in sockets[: max(0, surplus)]:
            message = "You have too many connections: the oldest is closed."
            failure = Failure.of(ErrorCode.RATE_LIMITED, message)
            self._send(session, events.ERROR, events.error_event(failure))
            self.disconnected(session.sid, "too many sockets of the user")
            self._tasks.start(self._transport.disconnect(session.sid))

    def _greet(self, session: Session) -> None:
        identity = session.identity
        hello = events.ConnectionSuccess(
            user_id=identity.user_id,
            socket_id=session.sid,
            server_time=_now(),
            expires_at=_expiry(identity),
            username=identity.username or msgspec.UNSET,
        )
        test = events.TestMessage(message="Connected to BB-Gram chat.", timestamp=_now())
        self._send(session, events.CONNECTION_SUCCESS, hello)
        self._send(session, events.TEST_MESSAGE, test, session.next_ack_id())

    async def _register(self, session: Session, is_first: bool) -> None:
        # Registered before the backlog is read: what is committed later than that read is published to us.
        await self._presence.register(session.user_id)
        if is_first:
            self._announce(session)
        await self._catch_up(session)

    def _introduce(self, session: Session) -> None:
        """Let the workers know the user before an event, in the same lane, if no catch-up has done so yet."""
        session.introduced = True
        payload = msgspec.json.encode(Introduce(username=session.identity.username))
        request = self._requests.open(
            INTRODUCE, session.user_id, session.sid, payload, _ignore, expires=False
        )
        self._lanes.submit(session.lane, request)

    async def _leave(self, session: Session) -> None:
        await self._presence.register(session.user_id)
        self._announce(session)

    def _announce(self, session: Session) -> None:
        """Have the workers tell the peers whether the user is online."""
        payload = msgspec.json.encode(Announce())
        request = self._requests.open(ANNOUNCE, session.user_id, session.sid, payload, _ignore, expires=False)
        self._lanes.submit(session.lane, request)

    async def _catch_up(self, session: Session) -> None:
        try:
            failure = await self._catch_ups.run(session, session.take_lost_since())
            while failure is None and session.lost_since is not None:
                failure = await self._catch_ups.run(session, session.take_lost_since())
        finally:
            self._delivery.release(session)
            session.catching_up = None
        if failure is None:
            session.introduced = True
        else:
            self._send(session, events.ERROR, events.error_event(failure))

    def _relay(self, session: Session, ack_id: int | None, event: ClientEvent) -> None:
        def settle(answer: Answer) -> None:
            self._answer(session, ack_id, event, answer)
            session.asked -= 1
            if session.retiring and not session.asked:
                self._transport.go_away(session.eio_sid)

        if not session.introduced:
            self._introduce(session)
        session.asked += 1
        request = self._requests.open(event.name, session.user_id, session.sid, event.payload, settle)
        self._lanes.submit(session.lane, request, droppable=event.name == events.TYPING)

    def _answer(self, session: Session, ack_id: int | None, event: ClientEvent, answer: Answer) -> None:
        name, payload = event
        if answer.failure is None:
            if name == MARK_AS_READ:
                chat_id = str(msgspec.json.decode(payload, type=MarkAsRead).chat_id)
                up_to = msgspec.json.decode(answer.data, type=events.ReadAck).read_up_to
                self._delivery.read(session, chat_id, up_to)
            if ack_id is not None:
                self._transport.send_ack(session.eio_sid, ack_id, bytes(answer.data))
        elif not (name == events.TYPING and answer.failure.code is ErrorCode.BUSY):
            self._fail(session, ack_id, name, answer.failure)

    def _slow_down(self, session: Session, ack_id: int | None, name: str | None, error: TooFast) -> None:
        """Say no to an event that nobody has looked into; cut off who does not hear."""
        if error.is_flood:
            self._transport.drop(session.eio_sid)
        elif name != events.TYPING:
            self._fail(session, ack_id, name, error.failure())

    async def _refresh_token(self, session: Session, ack_id: int | None, payload: bytes) -> None:
        try:
            token = msgspec.json.decode(payload, type=RefreshToken).token
            identity = await self._authenticator.authenticate(token)
            if identity.user_id != session.user_id:
                raise EdgeError(ErrorCode.UNAUTHORIZED, "The token belongs to another user.")
        except msgspec.DecodeError:
            failure = Failure.of(ErrorCode.INVALID_PAYLOAD, "The payload must be an object with a `token`.")
            self._fail(session, ack_id, REFRESH_TOKEN, failure)
        except EdgeError as error:
            self._fail(session, ack_id, REFRESH_TOKEN, error.failure())
        else:
            session.identity, session.warned = identity, False
            if ack_id is not None:
                ack = events.RefreshAck(expires_at=_expiry(identity))
                self._transport.send_ack(session.eio_sid, ack_id, msgspec.json.encode(ack))

    def _fail(self, session: Session, ack_id: int | None, name: str | None, failure: Failure) -> None:
        """Tell the client twice, as documented: in the ack of the request and as an `error` event."""
        if ack_id is not None:
            ack = msgspec.json.encode(events.error_ack(failure))
            self._transport.send_ack(session.eio_sid, ack_id, ack)
        self._send(session, events.ERROR, events.error_event(failure, name))

    def _send(self, session: Session, event: str, payload: msgspec.Struct, ack_id: int | None = None) -> None:
        self._transport.send_event(session.eio_sid, event, msgspec.json.encode(payload), ack_id)


def _ignore(_: Answer) -> None:
    """Take an answer that there is nobody to tell."""


def _read_token(auth: str | None) -> str:
    try:
        return msgspec.json.decode(auth or "", type=_Auth).token
    except (msgspec.DecodeError, RecursionError) as error:
        raise EdgeError(ErrorCode.UNAUTHORIZED, "Connect with `auth: {token}`.") from error


def _now() -> str:
    return events.iso_ms(datetime.now(UTC))


def _expiry(identity: Identity) -> str:
    return events.iso_ms(datetime.fromtimestamp(identity.expires_at, UTC))
