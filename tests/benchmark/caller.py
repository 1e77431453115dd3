"""Calls the server API as fast as it answers, in a process of its own that reads its spec from stdin.

Like `load`, it speaks just enough of the protocol, so that it is not what is measured.
"""

import asyncio
import re
import sys
import time
from typing import Final

import msgspec
import uvloop

from tests.benchmark.load import Latency, report

_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_PADDING: Final = "x" * 60


class CallSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What calls to make. Times in seconds."""

    port: int
    key: str
    pairs: list[tuple[str, str]]
    """Ids of users; the first of each pair writes to the second."""
    connections: int
    """Calls at the same time."""
    at_once: int
    """Messages of a call; 1 for calls with a single one."""
    warm_up_s: float = 1.5
    measure_s: float = 4.0


class Called(msgspec.Struct, frozen=True):
    """What came of it."""

    messages_s: float
    answer: Latency
    stored: int
    """Messages that were answered as stored, in all."""
    failed: int


class _Caller:
    def __init__(self, spec: CallSpec) -> None:
        self._spec = spec
        self._ends_at = time.perf_counter() + spec.warm_up_s + spec.measure_s
        self._calls: list[tuple[float, float]] = []
        """When each call was made and answered."""
        self._failed = 0

    async def run(self) -> Called:
        await asyncio.gather(*(self._call_on(number) for number in range(self._spec.connections)))
        end = self._ends_at
        begin = end - self._spec.measure_s
        answered = sum(begin <= answered_at < end for _, answered_at in self._calls)
        took = [answered_at - made_at for made_at, answered_at in self._calls if begin <= made_at < end]
        at_once = self._spec.at_once
        return Called(
            messages_s=round(answered * at_once / self._spec.measure_s, 1),
            answer=Latency.of(took),
            stored=len(self._calls) * at_once - self._failed,
            failed=self._failed,
        )

    async def _call_on(self, number: int) -> None:
        """Make calls on one connection, one after another."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._spec.port)
        count = 0
        while (made_at := time.perf_counter()) < self._ends_at:
            writer.write(self._request(number, count))
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            assert length is not None, head
            body = await reader.readexactly(int(length[1]))
            self._calls.append((made_at, time.perf_counter()))
            is_success = head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201"))
            self._failed += body.count(b'"problem"') if is_success else self._spec.at_once
            count += 1
        writer.close()

    def _request(self, number: int, count: int) -> bytes:
        spec = self._spec
        messages = [self._message(number + count * spec.at_once + place) for place in range(spec.at_once)]
        body = msgspec.json.encode(messages[0] if spec.at_once == 1 else {"messages": messages})
        head = (
            "POST /v1/messages HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {spec.key}\r\nIdempotency-Key: {number}-{count}-{self._ends_at}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _message(self, number: int) -> dict[str, str]:
        sender, recipient = self._spec.pairs[number % len(self._spec.pairs)]
        return {"from": sender, "to": recipient, "text": _PADDING}


def main() -> None:
    """Make the calls described by the first line of stdin, a JSON `CallSpec`."""
    spec = msgspec.json.decode(sys.stdin.readline(), type=CallSpec)

    async def run() -> None:
        report(await _Caller(spec).run())

    uvloop.run(run())


if __name__ == "__main__":
    main()
