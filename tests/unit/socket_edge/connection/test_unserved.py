"""A websocket that no reader serves yet: the application reads and writes it as ASGI says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.harness.waiting import PATIENCE_S
from tests.unit.socket_edge.connection.serving import Uvicorn, listening


class Application:
    """Accepts a websocket and echoes texts; does what it is told by certain texts."""

    def __init__(self) -> None:
        self.received: list[dict[str, object]] = []
        self.has_ended = asyncio.Event()
        self.refuses = self.fails = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            assert (await receive())["type"] == "websocket.connect"
            if self.fails:
                raise RuntimeError("a defect")
            await send({"type": "websocket.close" if self.refuses else "websocket.accept"})
            while not self.refuses:
                message = await receive()
                self.received.append(dict(message))
                if message["type"] == "websocket.disconnect":
                    return
                if message.get("text") == "close":
                    await send({"type": "websocket.close"})
                elif message.get("text") == "return":
                    return
                else:
                    await send({"type": "websocket.send", "text": str(message.get("text", "some bytes"))})
        finally:
            self.has_ended.set()


@asynccontextmanager
async def talking() -> AsyncIterator[tuple[Application, Uvicorn, ClientConnection]]:
    application = Application()
    async with listening(application) as (http, url), dial(url) as client:
        yield application, http, client


def dial(url: str) -> connect:
    return connect(url.replace("http", "ws", 1), compression=None, proxy=None, close_timeout=1)


async def ended(application: Application) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await application.has_ended.wait()


async def test_the_application_reads_texts_and_bytes_and_writes_texts() -> None:
    async with talking() as (application, _, client):
        for message, answer in (("привет", "привет"), (b"\x00\xff", "some bytes"), ("again", "again")):
            await client.send(message)
            assert await client.recv() == answer
        assert application.received[1] == {"type": "websocket.receive", "bytes": b"\x00\xff"}


async def test_the_application_may_close_the_websocket() -> None:
    async with talking() as (_, _, client):
        await client.send("close")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1000


async def test_an_application_that_returns_leaves_no_websocket_behind() -> None:
    async with talking() as (application, _, client):
        await client.send("return")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        await ended(application)


async def test_the_application_learns_that_the_client_has_left() -> None:
    async with talking() as (application, _, client):
        await client.close()
        await ended(application)
        assert application.received[-1]["type"] == "websocket.disconnect"


async def test_a_server_that_shuts_down_sends_the_client_away() -> None:
    async with talking() as (application, http, client):
        http.must_stop.set()
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1012
        await ended(application)


@pytest.mark.parametrize(("what", "status"), [("refuses", 403), ("fails", 500)])
async def test_a_websocket_that_is_not_accepted_is_answered_with_a_status(what: str, status: int) -> None:
    application = Application()
    setattr(application, what, True)
    async with listening(application) as (_, url):
        with pytest.raises(InvalidStatus) as refused:
            await dial(url)
        assert refused.value.response.status_code == status
