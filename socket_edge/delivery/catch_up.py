"""Sends a socket everything that was not delivered to its user yet, page by page, oldest first."""

import asyncio
import time

import msgspec
import structlog

from infra.wire import events
from infra.wire.commands import CatchUp
from infra.wire.errors import Failure
from infra.wire.inbox import Answer, CatchUpPage
from infra.wire.registry import CATCH_UP
from socket_edge.chat.session import ConnectedUsers, Session
from socket_edge.delivery.deliver import Delivery
from socket_edge.relay.lanes import Lanes
from socket_edge.tasks import Tasks

log = structlog.get_logger(__name__)

_PAUSE_S = 1.0
_ON_THE_WAY_S = 10.0
"""How long a request may take to reach a worker, in seconds."""
_SILENT_S = 0.2
"""Pause between the pages for a client that never acks, in seconds."""


class CatchUps:
    """Runs catch-ups: when a socket connects, and when this edge may have missed publications.

    New messages that arrive meanwhile are held, so that each chat arrives in the order of `seq`.
    """

    def __init__(
        self, users: ConnectedUsers, lanes: Lanes, delivery: Delivery, tasks: Tasks, page_ack_s: float
    ) -> None:
        """`page_ack_s` is how long a page waits for its acks before the next is sent, in seconds."""
        self._users = users
        self._lanes = lanes
        self._delivery = delivery
        self._tasks = tasks
        self._page_ack_s = page_ack_s

    def restart(self, since: float) -> None:
        """Let every socket catch up: publications since that monotonic time may be lost."""
        for session in self._users:
            session.lost_since = min(since, session.lost_since or since)
            if session.catching_up is None:
                session.catching_up = self._tasks.start(self.run(session))

    async def run(self, session: Session) -> None:
        """Let a socket catch up, then emit what was held. Tells the client if the user cannot be served."""
        try:
            failure = await self._send_pages(session, session.take_lost_since())
            while failure is None and session.lost_since is not None:
                failure = await self._send_pages(session, session.take_lost_since())
        finally:
            self._delivery.release(session)
            session.catching_up = None
        if failure is None:
            session.has_profile = True
        else:
            session.send(events.ERROR, events.error_event(failure))

    async def _send_pages(self, session: Session, lost_since: float | None) -> Failure | None:
        """Emit page after page. Returns why the user cannot be served, or None.

        With `lost_since`, everything that was published since that monotonic time is emitted too.
        """
        after: dict[str, int] | None = None
        patience_s = self._page_ack_s
        while True:
            answer = await self._ask(session, after, lost_since)
            if answer.failure is not None:
                if not answer.failure.code.retryable:
                    return answer.failure
                await asyncio.sleep(_PAUSE_S)
                continue
            page = msgspec.json.decode(answer.data, type=CatchUpPage)
            session.page_acked.clear()
            self._delivery.emit_page(session, ((m.position, m.data) for m in page.messages))
            if page.next is None:
                return None
            after = page.next
            if not await self._is_acked(session, patience_s) and not session.has_acked:
                # A client that never acks, such as one written for the first version of the protocol.
                patience_s = _SILENT_S

    async def _ask(self, session: Session, after: dict[str, int] | None, lost_since: float | None) -> Answer:
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def settle(answer: Answer) -> None:
            if not answered.done():
                answered.set_result(answer)

        lost_s = None if lost_since is None else time.monotonic() - lost_since + _ON_THE_WAY_S
        identity = session.identity
        payload = msgspec.json.encode(CatchUp(identity.username, identity.issued_at, after, lost_s))
        self._lanes.relay(
            session.lane, CATCH_UP, session.user_id, payload, settle, socket_id=session.socket_id
        )
        return await answered

    async def _is_acked(self, session: Session, patience_s: float) -> bool:
        """Wait for the client to ack everything; return False if it takes too long."""
        try:
            async with asyncio.timeout(patience_s):
                await session.page_acked.wait()
        except TimeoutError:
            log.info("page_not_acked", user=session.user_id, messages=len(session.unacked))
            return False
        return True
