"""Many clients that come back when their edge leaves, beside others that write to each other.

Runs in a process of its own that reads its spec from stdin, like `tests.benchmark.load`.
"""

import asyncio
import random
import sys
import time
from collections.abc import Iterator

import msgspec
import uvloop
from picows import WSError

from tests.benchmark.load import (
    Connected,
    Connection,
    Latency,
    Load,
    Result,
    Spec,
    Window,
    report,
    told_to_go_on,
)

_DELAY_S = 1.0
_DELAY_MAX_S = 5.0
_JITTER = 0.5
"""socket.io-client waits so long before it connects again: twice as long after each failure."""


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Who is there when an edge leaves."""

    senders: Spec
    """Pairs on the edges that stay, who write in an open loop."""
    crowd: Spec
    """Pairs on two edges, who are only connected."""
    leaves: int
    """The port of the edge that leaves."""


class Moved(msgspec.Struct, tag="moved"):
    """How the clients of an edge that left were served by the other one."""

    clients: int
    served_s: float
    """From the signal until the last one was signed in again."""
    away: Latency
    """From the end of a client's connection until it was signed in again."""
    most_sign_ins: int
    """Sign-ins within any second."""
    failures: int
    """Attempts to connect that failed."""
    before: Result
    """What the senders saw before the signal, and until everybody was back."""
    meanwhile: Result


class Member:
    """A client that comes back when its connection ends, as socket.io-client does."""

    def __init__(self, spec: Spec, number: int, at: int) -> None:
        self._spec = spec
        self._at = at
        self.connection = Connection(spec.run, number, spec.auths[number], lambda _: None)
        self.peer: Member
        self.failures = 0
        self.ended_at = 0.0
        self.served_at: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        """When it was signed in for the second time."""

    async def connect(self) -> None:
        """Connect for the first time."""
        await self.connection.connect(self.port)

    @property
    def port(self) -> int:
        """Return the port of its edge."""
        return self._spec.ports[self._at]

    async def come_back(self) -> None:
        """Wait until the connection ends, and connect to the other edge; until cancelled."""
        await self.connection.transport.wait_disconnected()
        self.ended_at = time.perf_counter()
        tries = 0
        while not self.served_at.done():
            delay = min(_DELAY_MAX_S, _DELAY_S * 2**tries)
            await asyncio.sleep(min(_DELAY_MAX_S, delay * random.uniform(1 - _JITTER, 1 + _JITTER)))
            tries += 1
            await self._try()

    async def _try(self) -> None:
        old, self._at = self.connection, 1 - self._at
        new = Connection(self._spec.run, old.number, self._spec.auths[old.number], lambda _: None)
        new.sent, new.peer, new.peer_name = old.sent, old.peer, old.peer_name
        self.connection = new
        try:
            await new.connect(self.port)
        except (OSError, WSError, TimeoutError):
            self.failures += 1
            self.connection = old
            if transport := getattr(new, "transport", None):
                transport.disconnect(graceful=False)
        else:
            self.served_at.set_result(time.perf_counter())


class Crowd:
    """All members. The two of each pair have a chat, so each hears that the other one comes and goes."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.members = [Member(spec, number, number // 2 % 2) for number in range(len(spec.names))]
        for one, other in self._pairs():
            one.connection.peer, other.connection.peer = other.connection, one.connection
            one.connection.peer_name = spec.names[other.connection.number]

    async def connect(self) -> None:
        """Connect everybody, and open the chats."""
        waiting = iter(self.members)

        async def connect_some() -> None:
            for member in waiting:
                await member.connect()

        await asyncio.gather(*(connect_some() for _ in range(self._spec.connecting)))
        for one, _ in self._pairs():
            one.connection.send(time.perf_counter(), "")
        while any(not one.connection.sent.acked for one, _ in self._pairs()):
            await asyncio.sleep(0.05)
        assert not any(one.connection.sent.failed for one, _ in self._pairs()), "a chat was not opened"

    def _pairs(self) -> Iterator[tuple[Member, Member]]:
        members = iter(self.members)
        return zip(members, members, strict=False)


async def _run(scene: Scene) -> None:
    senders, crowd = Load(scene.senders), Crowd(scene.crowd)
    connects_s = await senders.connect()
    await crowd.connect()
    report(Connected(connects_s))
    await told_to_go_on()
    movers = [member for member in crowd.members if member.port == scene.leaves]

    async def window() -> tuple[float, float, float]:
        begin = time.perf_counter()
        await asyncio.sleep(scene.senders.measure_s)
        moving = [asyncio.create_task(member.come_back()) for member in movers]
        await asyncio.sleep(0)
        report(Window("begin"))
        signal_at = time.perf_counter()
        await asyncio.gather(*moving)
        return begin, signal_at, time.perf_counter()

    begin, signal_at, end = await senders.send_during(window())
    assert not any(member.connection.closed for member in crowd.members), "a client was cut off"
    served = [member.served_at.result() for member in movers]
    report(
        Moved(
            clients=len(movers),
            served_s=round(max(served) - signal_at, 2),
            away=Latency.of([member.served_at.result() - member.ended_at for member in movers]),
            most_sign_ins=_most_within_a_second(served),
            failures=sum(member.failures for member in movers),
            before=senders.result(begin, signal_at),
            meanwhile=senders.result(signal_at, end),
        )
    )
    await told_to_go_on()


def _most_within_a_second(times: list[float]) -> int:
    first, most = 0, 0
    ordered = sorted(times)
    for last, time_s in enumerate(ordered):
        while time_s - ordered[first] > 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def main() -> None:
    """Play the scene that the first line of stdin describes, a JSON `Scene`."""
    uvloop.run(_run(msgspec.json.decode(sys.stdin.readline(), type=Scene)))


if __name__ == "__main__":
    main()
