"""Sends a socket everything that was not delivered to its user yet, page by page, oldest first."""

import asyncio
import heapq
import time
from collections.abc import Iterable
from typing import Final

import msgspec
import structlog

from infra.wire import events
from infra.wire.commands import CatchUp
from infra.wire.errors import Failure
from infra.wire.inbox import Ahead, Answer, CatchUpPage
from infra.wire.registry import CATCH_UP
from socket_edge.chat.session import ConnectedUsers, Session
from socket_edge.delivery.deliver import Delivery
from socket_edge.relay.lanes import Lanes
from socket_edge.relay.pending import asked
from socket_edge.tasks import Tasks

log = structlog.get_logger(__name__)

_PAUSE_S = 1.0
_ON_THE_WAY_S = 10.0
"""How long a request may take to reach a worker, in seconds."""
_SILENT_S = 0.2
"""Pause between the pages for a client that never acks, in seconds."""
_RESTARTS: Final = 200
"""Sockets that catch up at once after a loss, so that the lanes keep room for what clients send."""
_CHATS_OF_PAGE: Final = 50
"""Most chats that a page is read from."""
_PAGES: Final = 4
"""As how many pages an answer may be long while the client acks quickly."""
_PAGES_IN_ALL: Final = 8
"""How many pages the sockets of an edge ask for at once. While more sockets catch up, each asks for one."""
_CHATS_AHEAD: Final = 10_000
"""About how many chats are kept. If more have undelivered messages, these come in further rounds."""


class ChatsAhead:
    """The chats that have more messages for a socket, by the time of the next one.

    Whoever asks for the next messages of the first few chats need not mention the others.
    """

    def __init__(self) -> None:
        self._chats: list[tuple[int, str, int]] = []
        self._taken: set[tuple[int, str, int]] = set()

    def __len__(self) -> int:
        return len(self._chats)

    def add(self, page: CatchUpPage) -> None:
        """Add the chats of which a page says that they have more."""
        for ahead in _ahead(page):
            chat = (ahead.at_us, ahead.chat_id, ahead.seq)
            # Nobody can read a message that is said to be there and is in no page. Do not ask for ever.
            if page.messages or chat not in self._taken:
                heapq.heappush(self._chats, chat)
        self._taken = set()

    def take(self, pages: int = 1) -> tuple[dict[str, int], int | None]:
        """Remove the chats that come next, as many as an answer of so many pages is read from.

        Returns their cursors, and when the first of the others comes.
        """
        cursors: dict[str, int] = {}
        while self._chats and len(cursors) < pages * _CHATS_OF_PAGE:
            chat = heapq.heappop(self._chats)
            self._taken.add(chat)
            _, chat_id, seq = chat
            cursors[chat_id] = min(seq, cursors.get(chat_id, seq))
        return cursors, self._chats[0][0] if self._chats else None


def _ahead(page: CatchUpPage) -> Iterable[Ahead]:
    if page.ahead is not None:
        return page.ahead
    # A worker of the previous release does not say when the next message comes. Another one will.
    return (Ahead(chat_id, seq, at_us=0) for chat_id, seq in (page.next or {}).items())


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
        self._restarting: asyncio.Task[None] | None = None
        self._restarts = asyncio.Semaphore(_RESTARTS)
        self._running = 0

    def restart(self, since: float) -> None:
        """Let every socket catch up, a few at a time: publications since that monotonic time may be lost."""
        for session in self._users:
            session.lost_since = min(since, session.lost_since or since)
        if self._restarting is None:
            self._restarting = self._tasks.start(self._restart())

    async def _restart(self) -> None:
        try:
            while waiting := [session for session in self._users if _must_restart(session)]:
                for session in waiting:
                    await self._restarts.acquire()
                    if _must_restart(session) and session in self._users.of_user(session.user_id):
                        session.catching_up = self._tasks.start(self.run(session))
                        session.catching_up.add_done_callback(lambda _: self._restarts.release())
                    else:
                        self._restarts.release()
        finally:
            self._restarting = None

    async def run(self, session: Session) -> None:
        """Let a socket catch up, then emit what was held. Tells the client if the user cannot be served."""
        self._running += 1
        try:
            failure = await self._send_pages(session, session.take_lost_since())
            while failure is None and session.lost_since is not None:
                failure = await self._send_pages(session, session.take_lost_since())
        finally:
            self._running -= 1
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
        pages = _Pages(self._lanes, session, lost_since)
        patience_s = self._page_ack_s
        answering = pages.ask()
        while True:
            answer = await answering
            if answer.failure is not None:
                if not answer.failure.code.retryable:
                    return answer.failure
                await asyncio.sleep(_PAUSE_S)
                answering = pages.ask()
                continue
            page = msgspec.json.decode(answer.data, type=CatchUpPage)
            pages.take(page)
            # Nobody waits until the last page is acked.
            page_acked = session.page_acked = None if pages.are_complete else asyncio.Event()
            self._delivery.emit_page(session, ((m.position, m.data) for m in page.messages))
            if page_acked is None:
                return None
            # A worker reads the next page while the client acks this one. It is not sent before.
            answering = pages.ask()
            if not page.messages:
                continue
            is_acked = await self._is_acked(session, page_acked, patience_s)
            pages.adapt(most=_PAGES_IN_ALL // self._running if is_acked else 1)
            if not is_acked and not session.has_acked:
                # A client that never acks, such as one written for the first version of the protocol.
                patience_s = _SILENT_S

    async def _is_acked(self, session: Session, page_acked: asyncio.Event, patience_s: float) -> bool:
        """Wait for the client to ack everything; return False if it takes too long."""
        try:
            async with asyncio.timeout(patience_s):
                await page_acked.wait()
        except TimeoutError:
            log.info("page_not_acked", user=session.user_id, messages=len(session.unacked))
            return False
        return True


def _must_restart(session: Session) -> bool:
    return session.lost_since is not None and session.catching_up is None


class _Pages:
    """The pages of one catch-up: looks up the chats that have messages, then asks for these, oldest first."""

    def __init__(self, lanes: Lanes, session: Session, lost_since: float | None) -> None:
        self._lanes = lanes
        self._session = session
        self._lost_since = lost_since
        self._ahead = ChatsAhead()
        self._chats_after: str | None = None
        self._are_all_known = False
        self._cursors: dict[str, int] | None = None
        self._until_us: int | None = None
        """With `_cursors`, the request that waits for its page; None for a look-up."""
        self._length = 1
        """Of the next answer, in pages."""

    @property
    def are_complete(self) -> bool:
        """Whether there is nothing left to ask for."""
        return self._are_all_known and self._cursors is None

    def take(self, page: CatchUpPage) -> None:
        """Take the answer to the last request, and decide what to ask for next."""
        if self._cursors is None:
            self._chats_after = page.chats_after
            self._are_all_known = page.chats_after is None
        self._ahead.add(page)
        is_looking_up = self._cursors is None and not self._are_all_known
        if not self._ahead or (is_looking_up and len(self._ahead) < _CHATS_AHEAD):
            self._cursors = self._until_us = None
        else:
            self._cursors, self._until_us = self._ahead.take(self._length)

    def adapt(self, most: int) -> None:
        """Ask for twice as much from now on, but for no more pages than that."""
        self._length = max(1, min(2 * self._length, most, _PAGES))

    def ask(self) -> asyncio.Future[Answer]:
        """Ask a worker; the same again until `take` is called."""
        session, since = self._session, self._lost_since
        command = CatchUp(
            username=session.identity.username,
            issued_at=session.identity.issued_at,
            after=self._cursors,
            lost_s=None if since is None else time.monotonic() - since + _ON_THE_WAY_S,
            keeps_cursors=True,
            until_us=self._until_us,
            chats_after=self._chats_after if self._cursors is None else None,
            pages=self._length,
        )
        payload = msgspec.json.encode(command)
        return asked(
            lambda settle: self._lanes.relay(
                session.lane, CATCH_UP, session.user_id, payload, settle, socket_id=session.socket_id
            )
        )
