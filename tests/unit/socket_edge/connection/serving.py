"""A real Socket.IO server in this process, on a free port, with a handler that records its calls."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from infra.wire.errors import ErrorCode, Rejection
from socket_edge.connection.api import Connection, DisconnectReason, EventData
from socket_edge.connection.bounds import BoundedHttp, SendBounds
from socket_edge.connection.engineio import EngineConnection
from socket_edge.connection.handshake import Handshake
from socket_edge.connection.socketio import SocketServer
from socket_edge.limits.addresses import Addresses
from socket_edge.limits.origins import Origins
from socket_edge.limits.token_bucket import TokenBucket
from socket_edge.tasks import stop
from tests.conformance.connections import TRANSPORTS, Polling, Websocket
from tests.conformance.servers import Server
from tests.harness.waiting import PATIENCE_S

UNLIMITED = TokenBucket(0, 1)
CONNECT_S = 15.0
LAST = '42["last"]'
"""What `everything_read` sends."""


@dataclass(frozen=True, slots=True)
class Person:
    """The session of a client that is signed in."""

    name: str


class RecordingHandler:
    """Implements `api.Handler`: admits everybody but `nobody`, and allows everything by default."""

    def __init__(self) -> None:
        self.admitting: list[Connection] = []
        self.signed_in_as: list[Person] = []
        self.events: list[tuple[Person, int | None, EventData]] = []
        self.acks: list[tuple[Person, int]] = []
        self.event_sizes: list[int] = []
        self.metered: list[int] = []
        """Sizes of what is no event."""
        self.counts: list[int] = []
        """How many packets each of these counts as."""
        self.gone: list[tuple[Person, DisconnectReason]] = []
        self.leaving: list[Connection] = []
        self.may_admit = asyncio.Event()
        self.may_admit.set()
        self.allowance = -1
        """How many times `allows` still returns True; negative for forever."""
        self.work: Callable[[EventData], Coroutine[Any, Any, None] | None] = lambda _: None
        """What `event` returns."""
        self._changed = asyncio.Event()

    async def admit(self, connection: Connection, auth: str | None) -> object:
        self.admitting.append(connection)
        self._changed.set()
        await self.may_admit.wait()
        name = json.loads(auth or "{}").get("token", "")
        if name == "nobody":
            raise Rejection(ErrorCode.RATE_LIMITED, "Not now.", retry_after_ms=500)
        if name == "broken":
            raise RuntimeError("a defect")
        return Person(name)

    def signed_in(self, connection: Connection) -> None:
        self.signed_in_as.append(connection.session)
        self._changed.set()

    def event(
        self, connection: Connection, ack_id: int | None, data: EventData, size: int
    ) -> Coroutine[Any, Any, None] | None:
        self.events.append((connection.session, ack_id, data))
        self.event_sizes.append(size)
        self._changed.set()
        return self.work(data)

    def acked(self, connection: Connection, ack_id: int) -> None:
        self.acks.append((connection.session, ack_id))
        self._changed.set()

    def allows(self, connection: Connection, size: int, count: int = 1) -> bool:
        self.metered.append(size)
        self.counts.append(count)
        self._changed.set()
        self.allowance -= 1
        return self.allowance != -1

    def signed_out(self, connection: Connection, session: Any, reason: DisconnectReason) -> None:
        assert connection.session is None
        self.gone.append((session, reason))
        self._changed.set()

    def shutting_down(self, connection: Connection) -> None:
        self.leaving.append(connection)
        self._changed.set()

    def forget_costs(self) -> None:
        """Forget what has been metered so far."""
        for costs in (self.event_sizes, self.metered, self.counts):
            costs.clear()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that the handler was called with makes the condition true."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Uvicorn(uvicorn.Server):
    """Says when it is listening, and stops at once when told to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()
        self.must_stop = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    async def main_loop(self) -> None:
        await self.must_stop.wait()


class Served:
    """A running server."""

    def __init__(self, server: SocketServer, handler: RecordingHandler, http: Uvicorn, url: str) -> None:
        self.server = server
        self.handler = handler
        self.address = Server("edge", url)
        self._http = http

    def connections(self) -> list[EngineConnection]:
        """Return the open connections, the oldest first."""
        return list(self.server.eio.sockets.values())

    @asynccontextmanager
    async def client(
        self, transport: str = "websocket", name: str | None = "alice", *, answers_pings: bool = True
    ) -> AsyncIterator[tuple[Polling | Websocket, EngineConnection]]:
        """Connect a client, sign it in as `name` unless that is None, and yield it with its connection."""
        async with TRANSPORTS[transport](self.address, answers_pings=answers_pings) as client:
            connection = self.server.eio.sockets[client.handshake["sid"]]
            if name is not None:
                await sign_in(client, name)
            yield client, connection

    def shut_down(self) -> None:
        """Stop the server as SIGTERM does."""
        self._http.must_stop.set()


async def sign_in(client: Polling | Websocket, name: str) -> str:
    """Sign in; return the Socket.IO id."""
    earlier = len(client.starting("40"))
    await client.send(f"40{json.dumps({'token': name})}")
    answer = await client.expect("40", earlier + 1)
    return str(json.loads(answer[2:])["sid"])


@asynccontextmanager
async def serve(
    *,
    send_bounds: SendBounds | None = None,
    sockets_per_address: int = 0,
    frame_bytes: int = 1_000_000,
    connect_s: float = CONNECT_S,
    heartbeat_s: float = 25,
    heartbeat_timeout_s: float = 20,
    connects: TokenBucket = UNLIMITED,
    origins: tuple[str, ...] = (),
) -> AsyncIterator[Served]:
    """Serve until the end of the block."""
    handler = RecordingHandler()
    server = SocketServer(
        addresses=Addresses(connects, sockets_per_address),
        origins=Origins(origins),
        send_bounds=send_bounds or SendBounds(5_000, 8_000_000),
        frame_bytes=frame_bytes,
        connect_s=connect_s,
        heartbeat_s=heartbeat_s,
        heartbeat_timeout_s=heartbeat_timeout_s,
    )
    server.handler = handler
    async with listening(
        server.asgi(),
        connect_s=connect_s,
        frame_bytes=frame_bytes,
        shutting_down=server.shut_down_polls,
        timed_out=server.request_timed_out,
    ) as (http, url):
        beating = asyncio.create_task(server.beat())
        try:
            yield Served(server, handler, http, url)
        finally:
            http.must_stop.set()
            handler.may_admit.set()
            for connection in list(server.eio.sockets.values()):
                connection.end(DisconnectReason.SERVER_SHUTDOWN)
            await stop([beating])


@asynccontextmanager
async def listening(
    app: ASGIApp,
    *,
    connect_s: float = CONNECT_S,
    frame_bytes: int = 1_000_000,
    shutting_down: Callable[[], None] = lambda: None,
    timed_out: Callable[[], None] = lambda: None,
) -> AsyncIterator[tuple[Uvicorn, str]]:
    """Run uvicorn with an application until the end of the block; yield it with its address."""
    config = uvicorn.Config(
        app,
        http=BoundedHttp.within(connect_s, shutting_down, timed_out),
        ws=Handshake,
        ws_max_size=frame_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        timeout_graceful_shutdown=1,
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
    )
    opened = socket.create_server(("127.0.0.1", 0))
    http = Uvicorn(config)
    running = asyncio.create_task(http.serve([opened]))
    await http.is_up.wait()
    try:
        yield http, f"http://127.0.0.1:{opened.getsockname()[1]}"
    finally:
        http.must_stop.set()
        await running


async def pass_time(seconds: float) -> None:
    """Let all timers of the loop, which server and client share, take it for that many seconds later."""
    loop: Any = asyncio.get_running_loop()
    earlier = loop.time
    loop.time = lambda: earlier() + seconds
    for _ in range(5):
        await asyncio.sleep(0)


async def everything_read(served: Served, client: Polling | Websocket) -> None:
    """Wait until the server has read everything that the client has sent so far."""
    count = len(served.handler.events)
    await client.send(LAST)
    await served.handler.until(
        lambda: [data for *_, data in served.handler.events[count:]][-1:] == [LAST[2:]]
    )
