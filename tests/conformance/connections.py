"""One Engine.IO connection, packet by packet: it reads, answers and closes only when the test says so."""

import asyncio
import base64
import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conformance.servers import Server
from tests.harness.deployment import ANSWERED_S
from tests.harness.raw import RECORD_SEPARATOR
from tests.harness.waiting import PATIENCE_S

NOOP = "6"

_MESSAGE = re.compile(r"4([0-6])(?:(/[^,]*),)?(\d*)(.*)", re.DOTALL)


class Closed(Exception):
    """The server has closed the connection: with this websocket code, or HTTP status."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class Message(NamedTuple):
    """A Socket.IO packet that the server has sent."""

    kind: str
    namespace: str | None
    ack_id: int | None
    data: Any


def read_message(packet: str) -> Message:
    """Decode a Socket.IO packet that comes in an Engine.IO message."""
    match = _MESSAGE.fullmatch(packet)
    assert match is not None, packet
    kind, namespace, ack_id, data = match.groups()
    return Message(kind, namespace, int(ack_id) if ack_id else None, json.loads(data) if data else None)


class Connection(ABC):
    """What both transports share. Answers the server's pings unless told otherwise."""

    def __init__(self, server: Server, *, answers_pings: bool = True) -> None:
        self.server = server
        self.packets: list[str] = []
        """Everything received, in order."""
        self._answers_pings = answers_pings
        self._ack_ids = itertools.count(1001)
        """Lower ones are for tests that choose their own."""

    @abstractmethod
    async def send(self, *packets: str | bytes) -> None:
        """Send packets."""

    @abstractmethod
    async def receive(self) -> list[str]:
        """Wait for what the server sends next. Raises Closed."""

    @property
    def handshake(self) -> dict[str, Any]:
        """Return the data of the open packet."""
        assert self.packets[0][0] == "0", self.packets[0]
        return dict(json.loads(self.packets[0][1:]))

    @property
    def messages(self) -> list[Message]:
        """All Socket.IO packets received."""
        return [read_message(packet) for packet in self.packets if packet[0] == "4"]

    def events(self, name: str) -> list[Any]:
        """Return the payloads of an event in the order they arrived."""
        return [m.data[1] for m in self.messages if m.kind == "2" and m.data[0] == name]

    @property
    def acks(self) -> list[int | None]:
        """Ids of the acks received, in the order they arrived."""
        return [m.ack_id for m in self.messages if m.kind == "3"]

    async def until(self, condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> None:
        """Receive until the condition holds. Raises Closed."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    received = await self.receive()
                    self.packets += received
                    if self._answers_pings and "2" in received:
                        await self.send("3")
        except TimeoutError:
            raise AssertionError(f"not received; the last: {[p[:200] for p in self.packets[-20:]]}") from None

    async def expect(self, start: str, count: int = 1) -> str:
        """Wait for the `count`-th packet with this start."""
        await self.until(lambda: len(self.starting(start)) >= count)
        return self.starting(start)[count - 1]

    def starting(self, start: str) -> list[str]:
        """Return the packets received with this start."""
        return [packet for packet in self.packets if packet.startswith(start)]

    async def expect_event(self, name: str, count: int = 1) -> Any:
        """Wait for the `count`-th event of a name; return its payload."""
        await self.until(lambda: len(self.events(name)) >= count)
        return self.events(name)[count - 1]

    async def sign_in(self, username: str, *, ttl_s: float = 3600) -> Self:
        """Connect to the default namespace and wait for the server's greeting."""
        welcomes = len(self.events("test_message"))
        await self.send(f"40{json.dumps(self.server.auth(username, ttl_s=ttl_s))}")
        await self.expect_event("test_message", welcomes + 1)
        return self

    async def ask(self, name: str, *payloads: Any) -> Any:
        """Send an event and return its ack."""
        return await self.answer(await self.post(name, *payloads))

    async def post(self, name: str, *payloads: Any) -> int:
        """Send an event that wants an ack; return the id of the ack."""
        ack_id = next(self._ack_ids)
        await self.send(f"42{ack_id}{json.dumps([name, *payloads])}")
        return ack_id

    async def answer(self, ack_id: int) -> Any:
        """Wait for the ack of an event; return what it holds."""
        await self.until(lambda: ack_id in self.acks, ANSWERED_S)
        data = next(m.data for m in self.messages if m.kind == "3" and m.ack_id == ack_id)
        return data[0] if data else None

    async def assert_alive(self) -> None:
        """Assert that an event is answered."""
        assert (await self.ask("list_chats", {}))["success"]

    async def send_to_the_end(self, *packets: str | bytes) -> None:
        """Send packets that end the connection; receive meanwhile, as clients do."""
        sending = asyncio.create_task(self.send(*packets))
        await self.closed()
        # The server may close the connection before it answers.
        await asyncio.gather(sending, return_exceptions=True)

    async def closed(self) -> int | None:
        """Wait until the server has closed the connection; return the code."""
        try:
            await self.until(lambda: False)
        except Closed as closed:
            return closed.code
        raise AssertionError("unreachable")


class Websocket(Connection):
    """A websocket: a new connection, or with `sid` the upgrade of an existing one."""

    ws: ClientConnection

    def __init__(self, server: Server, *, sid: str | None = None, answers_pings: bool = True) -> None:
        super().__init__(server, answers_pings=answers_pings)
        self._sid = sid

    async def __aenter__(self) -> Self:
        session = f"&sid={self._sid}" if self._sid else ""
        self.ws = await open_websocket(self.server, f"EIO=4&transport=websocket{session}")
        async with AsyncExitStack() as unless_open:
            unless_open.push_async_callback(self.ws.close)
            if self._sid is None:
                await self.expect("0")
            unless_open.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.ws.close()

    async def send(self, *packets: str | bytes) -> None:
        """Send frames; those sent to a closed connection are lost."""
        try:
            for packet in packets:
                await self.ws.send(packet)
        except ConnectionClosed:
            return

    async def receive(self) -> list[str]:
        """Wait for one frame. Raises Closed."""
        try:
            frame = await self.ws.recv()
        except ConnectionClosed:
            raise Closed(self.ws.close_code) from None
        assert isinstance(frame, str)
        return [frame]


class Polling(Connection):
    """A long-polling connection. It polls only while the test waits for something."""

    def __init__(self, server: Server, *, answers_pings: bool = True) -> None:
        super().__init__(server, answers_pings=answers_pings)
        self.address = f"{server.url}/socket.io/?EIO=4&transport=polling"

    async def __aenter__(self) -> Self:
        self.http = httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False, verify=False)
        async with AsyncExitStack() as unless_open:
            unless_open.push_async_callback(self.http.aclose)
            self.packets += await self.receive()
            unless_open.pop_all()
        self.address += f"&sid={self.sid}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    @property
    def sid(self) -> str:
        """Id of the connection."""
        return str(self.handshake["sid"])

    async def send(self, *packets: str | bytes) -> None:
        """Send packets in one request. Raises Closed."""
        texts = [one if isinstance(one, str) else f"b{base64.b64encode(one).decode()}" for one in packets]
        answer = await self.post_body(RECORD_SEPARATOR.join(texts).encode())
        if answer.status_code != 200:
            raise Closed(answer.status_code)
        assert answer.text == self.server.expected(edge="ok", stock="OK")

    async def receive(self) -> list[str]:
        """Poll once. Raises Closed."""
        answer = await self.poll()
        if answer.status_code != 200:
            raise Closed(answer.status_code)
        return answer.text.split(RECORD_SEPARATOR)

    async def poll(self) -> httpx.Response:
        """Send one request for packets."""
        return await self.http.get(self.address)

    async def post_body(self, body: bytes) -> httpx.Response:
        """Send one request with any body."""
        return await self.http.post(self.address, content=body)

    async def post_to_the_end(self, body: bytes) -> int:
        """Send a request that ends the connection; poll meanwhile, as clients do. Return its status."""
        answer = asyncio.create_task(self.post_body(body))
        await self.closed()
        return (await answer).status_code


async def open_websocket(server: Server, query: str) -> ClientConnection:
    """Open a websocket to any address of Engine.IO. Raises Closed with the HTTP status if it is refused."""
    address = f"{server.url.replace('http', 'ws', 1)}/socket.io/?{query}"
    try:
        return await connect(
            address, max_size=None, compression=None, proxy=None, ping_interval=None, close_timeout=1
        )
    except InvalidStatus as error:
        raise Closed(error.response.status_code) from None


TRANSPORTS: dict[str, type[Polling] | type[Websocket]] = {"polling": Polling, "websocket": Websocket}
