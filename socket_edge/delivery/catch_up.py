"""Gives a socket everything that was not delivered to its user yet, oldest first, page by page."""

import asyncio
import time

import msgspec
import structlog

from infra.wire.commands import CATCH_UP, CatchUp
from infra.wire.errors import Failure
from infra.wire.inbox import Answer, CatchUpPage
from socket_edge.delivery.deliver import Delivery
from socket_edge.relay.lanes import Lanes
from socket_edge.relay.requests import OpenRequests
from socket_edge.sessions import Session

log = structlog.get_logger(__name__)

_PAUSE_S = 1.0
_ON_THE_WAY_S = 10.0
"""How long a request may take until a worker looks at it."""
_SILENT_S = 0.2
"""Pause between the pages of a client that never acks."""


class CatchUps:
    """Runs catch-ups: after a socket has connected, and when this edge may have missed something.

    Messages that arrive meanwhile are held, so that a chat comes in the order of seq.
    """

    def __init__(self, lanes: Lanes, requests: OpenRequests, delivery: Delivery, page_ack_s: float) -> None:
        self._lanes = lanes
        self._requests = requests
        self._delivery = delivery
        self._page_ack_s = page_ack_s

    async def run(self, session: Session, lost_since: float | None = None) -> Failure | None:
        """Emit page after page. Returns why the user cannot be served, or None.

        With `lost_since` it covers what was published since that monotonic time as well.
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
                # It never acks, as clients written for the first version of the protocol.
                patience_s = _SILENT_S

    async def _ask(self, session: Session, after: dict[str, int] | None, lost_since: float | None) -> Answer:
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def settle(answer: Answer) -> None:
            if not answered.done():
                answered.set_result(answer)

        lost_s = None if lost_since is None else time.monotonic() - lost_since + _ON_THE_WAY_S
        payload = msgspec.json.encode(CatchUp(username=session.identity.username, after=after, lost_s=lost_s))
        request = self._requests.open(CATCH_UP, session.user_id, session.sid, payload, settle)
        self._lanes.submit(session.lane, request)
        return await answered

    async def _is_acked(self, session: Session, patience_s: float) -> bool:
        """Wait until the client has acked all, but not for ever."""
        try:
            async with asyncio.timeout(patience_s):
                await session.page_acked.wait()
        except TimeoutError:
            log.info("page_not_acked", user=session.user_id, messages=len(session.unacked))
            return False
        return True
