"""What a client of a heavy user waits for, beside a user of the same chat who has little.

Runs in a process of its own that reads its spec from stdin, like `tests.benchmark.load`.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from tests.benchmark.load import report

_ANSWER_S = 30.0
_ARRIVE_S = 180.0
_WALK_PAGE = 100


class Arrive(msgspec.Struct, frozen=True, tag=True):
    """Connect, and ack everything that was not delivered: so many messages."""

    port: int
    auth: str
    messages: int


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Have two users ask in turns, each so many times."""

    port: int
    auths: tuple[str, str]
    """Of the user who has little, and of the one who has much."""
    event: str
    payloads: tuple[list[str], list[str]]
    """JSON of the requests of each."""
    expects: str = ""
    """What each answer holds."""


class Walk(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Have two users who miss nothing get in step in turns, as docs/events.md says, each so many times."""

    port: int
    auths: tuple[str, str]
    times: int


class Connect(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Have two users connect in turns until they know how much they have not read, each so many times."""

    port: int
    auths: tuple[str, str]
    unread: tuple[int, int]
    times: int


Spec = Arrive | Ask | Walk | Connect


class Arrived(msgspec.Struct, frozen=True):
    """What an arrival has seen. Times in seconds from the connection on."""

    first_s: float
    last_s: float
    messages: int
    doubled: int
    """Messages that came twice."""
    out_of_order: int
    """Messages that came behind a later one of their chat."""
    older: int
    """Messages that came behind one that was sent later, in any chat."""


class Compared(msgspec.Struct, frozen=True):
    """Medians in ms of the user who has little, and of the one who has much."""

    little: float
    much: float

    @property
    def ratio(self) -> float:
        """Return how many times as long it takes with much."""
        return self.much / self.little


class Client(WSListener):
    """A Socket.IO client in raw frames."""

    def __init__(self, auth: str) -> None:
        self._auth = b"40" + auth.encode()
        self._count = 0
        self._acks: dict[bytes, asyncio.Future[bytes]] = {}
        self.connected_at = 0.0
        self.welcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.unread: asyncio.Future[tuple[float, bytes]] = asyncio.get_running_loop().create_future()
        """When `unread_changed` came first, and with what."""
        self.on_message: Callable[[bytes], None] = lambda _: None

    async def connect(self, port: int) -> "Client":
        """Connect and wait until the server has accepted the user."""
        self.connected_at = time.perf_counter()
        url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        await ws_connect(lambda: self, url, enable_auto_ping=False)
        await asyncio.wait_for(self.welcome, _ANSWER_S)
        return self

    async def ask(self, event: str, payload: str) -> bytes:
        """Return the ack of an event, which must have succeeded."""
        self._count += 1
        number = b"%d" % self._count
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._acks[number] = answer
        self._write(b'42%b["%b",%b]' % (number, event.encode(), payload.encode()))
        data = await asyncio.wait_for(answer, _ANSWER_S)
        assert b'"success":true' in data, data[:500]
        return data

    async def close(self) -> None:
        """Disconnect."""
        self.transport.disconnect(graceful=False)
        await self.transport.wait_disconnected()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport: frames may come before `connect` goes on."""
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame; ack it if it asks for that."""
        if frame.msg_type != WSMsgType.TEXT:
            return
        data = frame.get_payload_as_bytes()
        start = data[:2]
        if start == b"42":
            self._take_event(data)
        elif start == b"43":
            bracket = data.index(b"[")
            self._acks.pop(data[2:bracket]).set_result(data[bracket:])
        elif start == b"2":
            self._write(b"3")
        elif start[:1] == b"0":
            self._write(self._auth)
        elif start == b"44":
            self.welcome.set_exception(ConnectionError(data.decode()))

    def _take_event(self, data: bytes) -> None:
        bracket = data.index(b"[")
        if bracket > 2:
            self._write(b"43" + data[2:bracket] + b"[]")
        if data.startswith(b'["new_message"', bracket):
            self.on_message(data[bracket:])
        elif data.startswith(b'["connection_success"', bracket) and not self.welcome.done():
            self.welcome.set_result(None)
        elif data.startswith(b'["unread_changed"', bracket) and not self.unread.done():
            self.unread.set_result((time.perf_counter(), data[bracket:]))

    def _write(self, data: bytes) -> None:
        self.transport.send(WSMsgType.TEXT, data)


class _Message(msgspec.Struct, rename="camel"):
    chat_id: str
    seq: int
    created_at: str


_messages = msgspec.json.Decoder(tuple[str, _Message])


async def arrive(spec: Arrive) -> Arrived:
    """Receive everything."""
    client = Client(spec.auth)
    frames: list[bytes] = []
    times: list[float] = []
    is_complete = asyncio.Event()

    def note(data: bytes) -> None:
        frames.append(data)
        times.append(time.perf_counter())
        if len(frames) == spec.messages:
            is_complete.set()

    client.on_message = note
    await client.connect(spec.port)
    await asyncio.wait_for(is_complete.wait(), _ARRIVE_S)
    # Whatever arrives now is a duplicate.
    await asyncio.sleep(1)
    await client.close()
    first_s, last_s = (times[place] - client.connected_at for place in (0, spec.messages - 1))
    return _checked([_messages.decode(data)[1] for data in frames], first_s, last_s)


def _checked(messages: list[_Message], first_s: float, last_s: float) -> Arrived:
    newest: dict[str, int] = {}
    doubled = out_of_order = older = 0
    seen = set()
    last_at = ""
    for message in messages:
        position = (message.chat_id, message.seq)
        doubled += position in seen
        seen.add(position)
        out_of_order += message.seq < newest.get(message.chat_id, 0)
        newest[message.chat_id] = message.seq
        older += message.created_at < last_at
        last_at = message.created_at
    return Arrived(first_s, last_s, len(seen), doubled, out_of_order, older)


async def ask(spec: Ask) -> Compared:
    """Measure requests."""
    clients = [await Client(auth).connect(spec.port) for auth in spec.auths]
    waiting = [iter(payloads) for payloads in spec.payloads]

    async def once(who: int) -> None:
        answer = await clients[who].ask(spec.event, next(waiting[who]))
        assert spec.expects.encode() in answer, answer[:500]

    found = await _in_turns(min(map(len, spec.payloads)), once)
    for client in clients:
        await client.close()
    return found


async def walk(spec: Walk) -> Compared:
    """Measure how long it takes to see that nothing is new."""
    clients = [await Client(auth).connect(spec.port) for auth in spec.auths]
    sinces = [
        _chats_of(await client.ask("list_chats", '{"since":null,"limit":1}'))["since"] for client in clients
    ]

    async def once(who: int) -> None:
        payload = {"since": sinces[who], "cursor": None, "limit": _WALK_PAGE}
        page = _chats_of(await clients[who].ask("list_chats", msgspec.json.encode(payload).decode()))
        assert (page["chats"], page["nextCursor"]) == ([], None), "something is new"
        sinces[who] = page["since"]

    found = await _in_turns(spec.times, once)
    for client in clients:
        await client.close()
    return found


def _chats_of(answer: bytes) -> Any:
    return msgspec.json.decode(answer)[0]


async def connect(spec: Connect) -> Compared:
    """Measure how long it takes until a user who connects knows what is unread."""

    async def once(who: int) -> None:
        client = await Client(spec.auths[who]).connect(spec.port)
        _, data = await asyncio.wait_for(client.unread, _ANSWER_S)
        assert b'"total":%d,' % spec.unread[who] in data, data
        closing.append(client)

    closing: list[Client] = []
    return await _in_turns(spec.times, once, between=lambda: _close(closing))


async def _close(clients: list[Client]) -> None:
    while clients:
        await clients.pop().close()
    # The presence of both is settled before they come back.
    await asyncio.sleep(0.02)


async def _nothing() -> None:
    pass


async def _in_turns(
    times: int, once: Callable[[int], Awaitable[None]], between: Callable[[], Awaitable[None]] = _nothing
) -> Compared:
    """Measure two in turns; each begins as often as the other."""
    took: tuple[list[float], list[float]] = ([], [])
    for number in range(2 * times):
        who = number % 2 ^ number // 2 % 2
        began = time.perf_counter()
        await once(who)
        took[who].append(time.perf_counter() - began)
        await between()
    return Compared(*(round(statistics.median(one) * 1000, 3) for one in took))


_STEPS: dict[type, Callable[[Any], Awaitable[msgspec.Struct]]] = {
    Arrive: arrive,
    Ask: ask,
    Walk: walk,
    Connect: connect,
}


async def _run(spec: Spec) -> None:
    report(await _STEPS[type(spec)](spec))


def main() -> None:
    """Do what the first line of stdin describes, a JSON `Spec`."""
    uvloop.run(_run(msgspec.json.decode(sys.stdin.readline(), type=Spec)))


if __name__ == "__main__":
    main()
