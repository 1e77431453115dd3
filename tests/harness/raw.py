"""Socket.IO written by hand, to send what no client library would."""

import asyncio
import json
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from tests.harness.deployment import ANSWERED_S, Edge, make_token
from tests.harness.waiting import PATIENCE_S, until

RECORD_SEPARATOR = "\x1e"
CONNECT_ERROR = "44"


def event(name: str, payload: Any) -> str:
    """Return an event with one argument, as JSON text."""
    return json.dumps([name, payload])


def padded(username: str, size: int) -> str:
    """Return a valid send of exactly `size` bytes."""
    start = f'["send_message",{{"username":"{username}","text":"hi","padding":"'
    return f'{start}{"x" * (size - len(start) - 3)}"}}]'


async def sockets_of(edge: Edge) -> int:
    """Return how many connections an edge holds."""
    async with httpx.AsyncClient(timeout=PATIENCE_S, verify=False) as http:
        return int((await http.get(f"{edge.url}/readyz")).json()["sockets"])


async def until_sockets(edge: Edge, count: int) -> None:
    """Wait until an edge holds at most `count` connections."""

    async def are_few() -> bool:
        return await sockets_of(edge) <= count

    await until(are_few, f"the edge holds at most {count} connections")


def open_websocket(edge: Edge) -> connect:
    """Open a websocket to an edge and send nothing on it, not even CONNECT."""
    address = f"{edge.url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
    return connect(address, max_size=None, compression=None, proxy=None, ping_interval=None, close_timeout=1)


class RawClient:
    """One websocket that sends any frame and records what comes back."""

    def __init__(self, edge: Edge, username: str) -> None:
        self._edge = edge
        self._token = make_token(username)
        self._changed = asyncio.Condition()
        self._last_ack_id = 0
        self.frames: list[str] = []
        self.acks: dict[int, Any] = {}
        self.events: list[tuple[str, Any]] = []

    async def __aenter__(self) -> Self:
        self.ws = await open_websocket(self._edge)
        self._reading = asyncio.create_task(self._read())
        async with AsyncExitStack() as unless_signed_in:
            unless_signed_in.push_async_exit(self)
            await self.send(f"40{json.dumps({'token': self._token})}")
            await self.expect("test_message")
            unless_signed_in.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing again fails in asyncio if the edge has closed the connection while much was left to send.
        if self.ws.state is not State.CLOSED:
            await self.ws.close()
        await self._reading

    def stop_reading(self) -> None:
        """Never read anything again."""
        self.ws.transport.pause_reading()

    async def send(self, frame: str | bytes) -> None:
        """Send one frame as it is."""
        await self.ws.send(frame)

    async def ask(self, data: str) -> Any:
        """Send an event, given as JSON text, and return its ack."""
        return await self.ack_of(await self.post(data))

    async def post(self, data: str) -> int:
        """Send an event that wants an ack; return the id of the ack."""
        self._last_ack_id += 1
        await self.send(f"42{self._last_ack_id}{data}")
        return self._last_ack_id

    async def ack_of(self, ack_id: int) -> Any:
        """Wait for an ack."""
        await self.wait_for(lambda: ack_id in self.acks, ANSWERED_S)
        return self.acks[ack_id]

    async def expect(self, event: str, count: int = 1) -> Any:
        """Wait for the `count`-th event of a name; return its payload."""
        await self.wait_for(lambda: len(self.of(event)) >= count)
        return self.of(event)[count - 1]

    async def closed(self) -> int | None:
        """Wait until the server has closed the connection; return its code."""
        async with asyncio.timeout(PATIENCE_S):
            await self.ws.wait_closed()
        return self.ws.close_code

    def of(self, event: str) -> list[Any]:
        """Return the payloads of an event in the order they arrived."""
        return [payload for name, payload in self.events if name == event]

    async def wait_for(self, condition: Any, timeout_s: float = PATIENCE_S) -> None:
        """Wait until what was received makes the condition true."""
        async with self._changed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait_for(condition)
            except TimeoutError:
                raise AssertionError(f"not received; all: {[f[:200] for f in self.frames]}") from None

    async def _read(self) -> None:
        try:
            async for frame in self.ws:
                assert isinstance(frame, str)
                if frame == "2":
                    await self.ws.send("3")
                async with self._changed:
                    self._take(frame)
                    self._changed.notify_all()
        except ConnectionClosed:
            return

    def _take(self, frame: str) -> None:
        self.frames.append(frame)
        if frame.startswith(("42", "43")):
            number, bracket, rest = frame[2:].partition("[")
            data = json.loads(bracket + rest)
            if frame.startswith("42"):
                self.events.append((data[0], data[1]))
            else:
                self.acks[int(number)] = data[0]


class SignInRefused(Exception):
    """An edge answered CONNECT with CONNECT_ERROR. The message is what it sent."""


class RawPolling:
    """One long-polling connection."""

    def __init__(self, edge: Edge, username: str) -> None:
        self.address = f"{edge.url}/socket.io/?EIO=4&transport=polling"
        self._token = make_token(username)
        self.packets: list[str] = []

    async def __aenter__(self) -> Self:
        self.http = httpx.AsyncClient(timeout=PATIENCE_S, verify=False)
        async with AsyncExitStack() as unless_signed_in:
            unless_signed_in.push_async_exit(self)
            opened = json.loads((await self.http.get(self.address)).text[1:])
            self.address += f"&sid={opened['sid']}"
            await self.post(f"40{json.dumps({'token': self._token})}")
            answer, *_ = await self.expect(('42["connection_success"', CONNECT_ERROR))
            if answer.startswith(CONNECT_ERROR):
                raise SignInRefused(answer)
            unless_signed_in.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def post(self, *packets: str) -> httpx.Response:
        """Send packets in one request."""
        return await self.post_body(RECORD_SEPARATOR.join(packets).encode())

    async def post_body(self, body: bytes) -> httpx.Response:
        """Send one request with any body."""
        return await self.http.post(self.address, content=body)

    async def expect(self, start: str | tuple[str, ...], count: int = 1) -> list[str]:
        """Poll until `count` packets with this start, or one of these, have arrived; return them."""
        async with asyncio.timeout(PATIENCE_S):
            while len(found := [packet for packet in self.packets if packet.startswith(start)]) < count:
                self.packets += (await self.http.get(self.address)).text.split(RECORD_SEPARATOR)
                if self.packets[-1] == "2":
                    await self.post("3")
        return found
