"""`make fuzz`: sends bursts of broken frames, bodies and requests to an edge with a worker.

For two thirds of the time the limits of users and addresses are off, so that everything reaches the parsers;
then fewer attackers face an edge with the default limits. Fails when a process dies, an error is logged, or a
bystander is not served after a burst. `--seed` repeats the bursts of a run.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from tests.harness.client import Client
from tests.harness.deployment import DEFAULT_RATES, Deployment, Edge, make_token
from tests.harness.engines import Engines
from tests.harness.raw import RawPolling, SignInRefused
from tests.security.mutator import Burst, Mutator
from tests.security.siege import errors_in
from tests.security.tcp import GOODBYE, TEXT, Tcp, frame

SERVED_S = 10.0
"""How long a bystander's message may take after a burst."""
ATTACKERS = 50
"""Of each kind. With the limits there is one, which sends more events than they allow."""
_REFUSED = b'"code":"rate_limited"'
_LAST = 424242
"""Ack id of the last event of a burst; its answer shows that the edge has read everything."""


BOUND_MB = 400
"""Resident memory of the edge and of the worker, each."""


class FuzzFailed(Exception):
    """The edge or the worker failed. The message is one line."""


async def fuzz(chat: Deployment, edge: Edge, mutator: Mutator, *, attackers: int, seconds: float) -> str:
    """Attack for that long; return how much was sent. Raises FuzzFailed."""
    alice, bob = await Client("fuzz_alice").connect(edge), await Client("fuzz_bob").connect(edge)
    ends_at = time.monotonic() + seconds
    bursts = parts = refused = 0
    try:
        while time.monotonic() < ends_at:
            burst = mutator.burst()
            refused += await send(edge, f"fuzz_{burst.kind}_{bursts % attackers}", burst)
            bursts, parts = bursts + 1, parts + len(burst.parts)
            await assert_served(alice, bob, bursts, burst)
            assert_unharmed(chat, bursts, burst)
    finally:
        for client in (alice, bob):
            await client.close()
    return f"{parts:,} frames in {bursts:,} bursts, {refused:,} times refused by a limit"


async def send(edge: Edge, username: str, burst: Burst) -> int:
    """Send a burst on a connection of its kind; return how often a limit refused something.

    Of long-polling, only refused sign-ins are counted.
    """
    if burst.kind == "poll":
        return await _poll(edge, username, burst.parts)
    if burst.kind == "request":
        for part in burst.parts:
            async with Tcp(edge) as tcp:
                await tcp.send(part)
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await tcp.receive()
        return 0
    async with Tcp(edge) as tcp:
        await tcp.open_websocket()
        connect = frame(TEXT, f"40{json.dumps({'token': make_token(username)})}".encode())
        if burst.kind != "stranger":
            await tcp.send(connect)
        heard: Counter[bytes] = Counter()
        reading = asyncio.create_task(_read(tcp, heard))
        for part in burst.parts:
            await tcp.send(part if burst.kind == "frames" else frame(TEXT, part))
        if burst.kind == "member":  # the burst may have signed the member out
            await tcp.send(connect)
        await tcp.send(frame(TEXT, b'42%d["list_chats",{}]' % _LAST))
        # Clients that are not signed in, or whose frames are out of step, get no answer.
        with suppress(TimeoutError):
            async with asyncio.timeout(SERVED_S if burst.kind == "member" else 0.1):
                await reading
        reading.cancel()
    return heard[_REFUSED]


async def _read(tcp: Tcp, heard: Counter[bytes]) -> None:
    tail = b""
    while data := await tcp.receive():
        heard[_REFUSED] += data.count(_REFUSED)
        tail = tail[-100:] + data
        if b"43%d[" % _LAST in tail or GOODBYE in tail:
            return


async def _poll(edge: Edge, username: str, parts: Sequence[bytes]) -> int:
    try:
        async with RawPolling(edge, username) as polling:
            for start in range(0, len(parts), 10):
                try:
                    await polling.post_body(b"\x1e".join(parts[start : start + 10]))
                except httpx.HTTPError as error:
                    raise FuzzFailed(
                        f"a poll was not answered: {error!r}, {parts[start : start + 10]}"
                    ) from error
            with suppress(httpx.HTTPError):
                await polling.http.get(polling.address, timeout=0.2)
    except SignInRefused as refused:
        # One attacker signs in more often than the limits allow.
        if _REFUSED.decode() not in str(refused):
            raise FuzzFailed(f"a sign-in was refused: {refused}") from None
        return 1
    return 0


async def assert_served(alice: Client, bob: Client, number: int, burst: Burst) -> None:
    """Have a message acked and delivered. Raises FuzzFailed."""
    text = f"after burst {number}"
    try:
        async with asyncio.timeout(SERVED_S):
            ack = await alice.send(bob.username, text)
            await bob.expect("new_message", lambda message: message["text"] == text)
    except Exception as error:
        raise FuzzFailed(f"burst {number} ({burst.kind}): an innocent was not served: {error!r}") from error
    if not ack["success"]:
        raise FuzzFailed(f"burst {number} ({burst.kind}): an innocent was refused: {ack}")


def assert_unharmed(chat: Deployment, number: int, burst: Burst) -> None:
    """Check the processes and their logs. Raises FuzzFailed."""
    for part in (*chat.edges, *chat.workers):
        if part.process.poll() is not None:
            raise FuzzFailed(f"burst {number} ({burst.kind}): a process has died: {part.log[-500:]!r}")
        resident_mb = psutil.Process(part.process.pid).memory_info().rss / 1_000_000
        if resident_mb > BOUND_MB:
            raise FuzzFailed(f"burst {number} ({burst.kind}): a process has {resident_mb:.0f} MB")
        if errors := errors_in(part.log):
            raise FuzzFailed(f"burst {number} ({burst.kind}): {errors[0][-600:]}")


def main() -> int:
    """Fuzz a deployment of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:g} s", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engines = Engines(folder / "engines")
        try:
            engines.start()
            chat = Deployment(engines.new_store(), folder)
            try:
                chat.start(edges=1, workers=1, beat=False)
                mutator, third_s = Mutator(options.seed), options.seconds / 3
                free = asyncio.run(
                    fuzz(chat, chat.edges[0], mutator, attackers=ATTACKERS, seconds=2 * third_s)
                )
                limited = asyncio.run(
                    fuzz(
                        chat,
                        chat.start_edge(**DEFAULT_RATES),
                        mutator,
                        attackers=1,
                        seconds=third_s,
                    )
                )
            finally:
                chat.stop()
        except FuzzFailed as failure:
            print(f"broken, seed {options.seed}: {failure}", file=sys.stderr)
            return 1
        finally:
            engines.stop()
    print(f"held without limits: {free}\nheld with the default limits: {limited}\nseed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
