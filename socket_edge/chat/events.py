"""A client's events: limited, checked, relayed to a worker, and answered."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from infra import tracing
from infra.wire.commands import EnsureProfile, RefreshToken
from infra.wire.errors import ErrorCode, Failure, Rejection
from infra.wire.events import SIGNED_OUT, RefreshAck, iso_ms
from infra.wire.inbox import Answer
from infra.wire.registry import CLIENT_COMMANDS, INTRODUCE, REFRESH_TOKEN
from socket_edge import metrics
from socket_edge.auth import Authenticator, Identity
from socket_edge.auth.refusal_log import RefusalLog
from socket_edge.auth.rejections import RefusalReason, unauthorized
from socket_edge.chat.client_event import ClientEvent, MalformedEvent, known_name, read_event
from socket_edge.chat.session import Session
from socket_edge.connection.api import DisconnectReason, EventData
from socket_edge.delivery.deliver import Delivery
from socket_edge.limits.users import UserLimiter
from socket_edge.relay.lanes import Lanes

_REGISTERED_S: Final = 1.0
"""How long the first event waits until the socket is registered. If that takes longer, Redis is down."""

EdgeHandler = Callable[[Session, int | None, bytes], Coroutine[Any, Any, None]]
"""Answers the event of a session, from its ack id and its payload, without a worker."""


class ClientEvents:
    """Takes the events of signed-in clients."""

    def __init__(
        self,
        authenticator: Authenticator,
        limiter: UserLimiter,
        lanes: Lanes,
        delivery: Delivery,
        payload_bytes: int,
        refusals: RefusalLog,
    ) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._lanes = lanes
        self._delivery = delivery
        self._payload_bytes = payload_bytes
        self._refusals = refusals
        self.edge_handlers: dict[str, EdgeHandler] = {REFRESH_TOKEN: self._refresh_token}
        """By name, what answers the commands that `is_answered_by_edge`."""

    def take(
        self, session: Session, ack_id: int | None, data: EventData, size: int
    ) -> Coroutine[Any, Any, None] | None:
        """Refuse, answer or relay an event of `size` bytes.

        Returns work that must finish before the next event, if any.
        """
        try:
            self._limiter.event(session.user_id, size)
        except Rejection as rejection:
            self._slow_down(session, ack_id, data, size, rejection)
            return None
        try:
            event = read_event(data, self._payload_bytes)
        except Rejection as rejection:
            _count(known_name(data), rejection.failure())
            session.fail(ack_id, known_name(data), rejection.failure())
            if isinstance(rejection, MalformedEvent):
                session.end(DisconnectReason.PROTOCOL_ERROR)
            return None
        if CLIENT_COMMANDS[event.name].is_answered_by_edge:
            return self.edge_handlers[event.name](session, ack_id, event.payload)
        if session.registering is not None:
            return self._relay_registered(session, session.registering, ack_id, event)
        self._relay(session, ack_id, event)
        return None

    def _slow_down(
        self, session: Session, ack_id: int | None, data: EventData, size: int, rejection: Rejection
    ) -> None:
        """Refuse an event unparsed; cut off a client that goes on regardless."""
        name = known_name(data)
        _count(name, rejection.failure())
        if not self._limiter.allows(session.user_id, session.connection.id, size):
            session.end(DisconnectReason.FLOOD)
        elif name is None or not CLIENT_COMMANDS[name].is_ephemeral:
            session.fail(ack_id, name, rejection.failure())

    async def _relay_registered(
        self, session: Session, registering: asyncio.Future[None], ack_id: int | None, event: ClientEvent
    ) -> None:
        """Relay an event of a socket that is being registered, so that it hears what follows the answer."""
        session.unanswered += 1
        await asyncio.wait((registering,), timeout=_REGISTERED_S)
        session.unanswered -= 1
        # The next ones do not wait, whether it is registered or Redis is down.
        session.registering = None
        if not session.is_signed_out:
            self._relay(session, ack_id, event)

    def _relay(self, session: Session, ack_id: int | None, event: ClientEvent) -> None:
        arrived_at = time.monotonic()
        span = tracing.begin_trace(event.name)

        def settle(answer: Answer) -> None:
            self._answer(session, ack_id, event.name, answer)
            outcome = _outcome(answer.failure)
            metrics.EVENTS.counts[event.name, outcome] += 1
            metrics.ACK_SECONDS.observe(time.monotonic() - arrived_at, event.name)
            if span is not None:
                tracing.end(span, outcome=outcome)
            session.unanswered -= 1
            if session.is_leaving and not session.unanswered:
                session.end(DisconnectReason.SERVER_SHUTDOWN)

        if not session.has_profile:  # no catch-up has created it yet
            self._ensure_profile(session)
        session.unanswered += 1
        self._lanes.relay(
            session.lane,
            event.name,
            session.user_id,
            event.payload,
            settle,
            socket_id=session.socket_id,
            trace=tracing.traceparent(span),
        )

    def _ensure_profile(self, session: Session) -> None:
        """Have the profile created ahead of the next event, in the same lane, under the name in the token."""

        def settle(answer: Answer) -> None:
            if answer.failure is not None and answer.failure.code.retryable:
                session.has_profile = False

        session.has_profile = True
        identity = session.identity
        payload = msgspec.json.encode(EnsureProfile(identity.username, identity.issued_at))
        self._lanes.relay(session.lane, INTRODUCE, session.user_id, payload, settle, expires=False)

    def _answer(self, session: Session, ack_id: int | None, name: str, answer: Answer) -> None:
        if answer.failure is None:
            if answer.acked_up_to is not None:
                self._delivery.ack_up_to(session, answer.acked_up_to)
            session.send_ack(ack_id, bytes(answer.data))
        elif not (CLIENT_COMMANDS[name].is_ephemeral and answer.failure.code is ErrorCode.BUSY):
            session.fail(ack_id, name, answer.failure)

    async def _refresh_token(self, session: Session, ack_id: int | None, payload: bytes) -> None:
        try:
            identity = await self._read_identity(session, payload)
        except Rejection as rejection:
            self._refusals.record(rejection, REFRESH_TOKEN)
            _count(REFRESH_TOKEN, rejection.failure())
            session.fail(ack_id, REFRESH_TOKEN, rejection.failure())
        else:
            _count(REFRESH_TOKEN, None)
            # A client that cannot get a token that lasts longer must not be warned again and again.
            is_longer = identity.expires_at > session.identity.expires_at
            session.is_warned = session.is_warned and not is_longer
            session.identity = identity
            self._ensure_profile(session)
            ack = RefreshAck(
                expires_at=iso_ms(datetime.fromtimestamp(identity.expires_at, UTC)),
                username=identity.username or msgspec.UNSET,
            )
            session.send_ack(ack_id, msgspec.json.encode(ack))

    async def _read_identity(self, session: Session, payload: bytes) -> Identity:
        try:
            token = msgspec.json.decode(payload, type=RefreshToken).token
        except msgspec.DecodeError as error:
            message = "The payload must be an object with a `token`."
            raise Rejection(ErrorCode.INVALID_PAYLOAD, message) from error
        identity = await self._authenticator.authenticate(token)
        if identity.user_id != session.user_id:
            raise unauthorized(RefusalReason.OTHER_USER, "The token belongs to another user.")
        if identity.is_issued_by(session.signed_out_ms):
            raise Rejection(ErrorCode.UNAUTHORIZED, SIGNED_OUT)
        return identity


def _count(name: str | None, failure: Failure | None) -> None:
    metrics.EVENTS.counts[name or "unknown", _outcome(failure)] += 1


def _outcome(failure: Failure | None) -> str:
    return "ok" if failure is None else failure.code
