"""Clients that record everything, connect again as clients do, and try again under the same `clientId`."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import socketio
from socketio.exceptions import ConnectionError as NotConnected

from tests.faults.records import Delivered, Records, Sent, Try
from tests.harness.deployment import user_id_of

_GIVE_UP_S: Final = 20.0
"""After the deadline of a request a client stops waiting for its answer."""
_PAUSE_S: Final = 0.2
"""Before a client connects or tries again."""

Token = Callable[[str], str]
"""Makes an access token for a user name."""


class FaultClient:
    """A user with one connection at a time, to whichever edge takes it."""

    def __init__(self, username: str, urls: Sequence[str], token: Token, records: Records) -> None:
        self.username = username
        self.user_id = user_id_of(username)
        self.refusals: list[Any] = []
        """What `connect_error` has said."""
        self._urls = itertools.cycle(urls)
        self._token = token
        self._records = records
        self._numbers = itertools.count()
        self._sio: socketio.AsyncClient | None = None
        self._connection = -1
        self._connected = asyncio.Event()
        self._gone = asyncio.Event()
        self._seen = asyncio.Condition()
        self._got: set[str] = set()
        self._running: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection right now."""
        return self._connected.is_set()

    async def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._running = asyncio.create_task(self._stay_connected())
        await self._connected.wait()

    async def stop(self) -> None:
        """Leave."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def reconnect(self) -> None:
        """Drop the connection and wait for the next one."""
        connection = self._connection
        assert self._sio is not None
        await self._sio.disconnect()
        while self._connection == connection or not self._connected.is_set():
            await asyncio.sleep(0.02)

    async def send(self, peer: "FaultClient", text: str, *, is_poison: bool = False) -> Sent:
        """Send until it is acked, or refused for good."""
        sent = Sent(self.user_id, peer.user_id, text, is_poison=is_poison)
        self._records.sent.append(sent)
        while True:
            await self._connected.wait()
            answer = await self._try(sent, peer.username)
            if answer is not None and answer["success"]:
                sent.message_id = answer["message"]["id"]
                return sent
            if answer is not None and not answer["retryable"]:
                return sent
            await asyncio.sleep(_PAUSE_S)

    async def wait_got(self, message_ids: set[str]) -> None:
        """Return when all these messages have come."""
        async with self._seen:
            await self._seen.wait_for(lambda: message_ids <= self._got)

    async def _try(self, sent: Sent, username: str) -> Any:
        """Try once; return the answer, or None if there is none."""
        assert self._sio is not None
        gone = self._gone
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        attempt = Try(self._connection, time.monotonic())
        sent.tries.append(attempt)

        def settle(value: Any) -> None:
            if not answer.done():
                answer.set_result(value)

        payload = {"username": username, "text": sent.text, "clientId": sent.text}
        with suppress(socketio.exceptions.SocketIOError):
            await self._sio.emit("send_message", payload, callback=settle)
        cut = asyncio.ensure_future(gone.wait())
        await asyncio.wait([answer, cut], timeout=_GIVE_UP_S, return_when=asyncio.FIRST_COMPLETED)
        cut.cancel()
        attempt.ended_at = time.monotonic() if answer.done() or gone.is_set() else None
        if not answer.done():
            attempt.code = "cut" if gone.is_set() else None
            return None
        attempt.code = "ok" if answer.result()["success"] else answer.result()["code"]
        return answer.result()

    async def _stay_connected(self) -> None:
        try:
            while True:
                await self._connect_once(next(self._urls))
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._connected.clear()

    async def _connect_once(self, url: str) -> None:
        """Be connected until the connection ends."""
        sio = socketio.AsyncClient(reconnection=False)
        gone = asyncio.Event()
        connection = next(self._numbers)
        greeted = asyncio.Event()

        async def take(message: dict[str, Any]) -> dict[str, bool]:
            self._records.delivered.append(
                Delivered(self.user_id, connection, message["id"], time.monotonic())
            )
            async with self._seen:
                self._got.add(message["id"])
                self._seen.notify_all()
            return {"received": True}

        sio.on("new_message", take)
        sio.on("test_message", lambda *_: greeted.set())
        sio.on("connect_error", self.refusals.append)
        sio.on("disconnect", lambda *_: gone.set())
        try:
            await sio.connect(
                url, auth={"token": self._token(self.username)}, transports=["websocket"], wait_timeout=5
            )
            async with asyncio.timeout(5):
                await greeted.wait()
            self._sio, self._connection, self._gone = sio, connection, gone
            self._connected.set()
            await gone.wait()
        except (NotConnected, TimeoutError):
            pass
        finally:
            gone.set()
            self._connected.clear()
            await asyncio.shield(_close(sio))


async def _close(sio: socketio.AsyncClient) -> None:
    with suppress(Exception):  # whatever a cut connection leaves behind
        await sio.disconnect()
    http = sio.eio.http
    if http is not None and not http.closed:
        await http.close()
