"""Prints how an archive run affects clients: `python -m tests.benchmark.archive_under_load`.

Real clients send at a fixed rate, in turns without and with an archive run beside them. The run is a
process of its own, against an S3 (moto) that lives in that process. So its memory includes what S3 holds
for it too: the object, once for each copy that moto makes. For Linux.
"""

import asyncio
import json
import os
import re
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto import mock_aws

from functions.archive import message_file
from functions.archive.archiver import archive
from functions.archive.bucket import ArchiveBucket, make_client
from functions.context import Context
from functions.pacer import Pacer
from infra.settings.functions import FunctionSettings
from tests.harness.client import Client
from tests.harness.deployment import Deployment
from tests.harness.engines import Engines

CHATS = 1_000
MESSAGES_A_CHAT = 100
WORDS = 4
"""Of 32 characters, in a message; random, so that they hardly compress."""
PAIRS = 20
RATE = 100.0
"""Messages a second, of all clients together."""
TURNS = 5
SHORTEST_S = 5.0
BUCKET = "old-messages"

_PEOPLE = """
    INSERT INTO profiles (id, username)
    SELECT md5('old' || n)::uuid, 'old' || n FROM generate_series(1, 2 * :chats) n
"""
_CHATS = """
    INSERT INTO chats (id, user_lo, user_hi, last_seq, activity_at)
    SELECT md5('chat' || n)::uuid, least(a, b), greatest(a, b), :messages, now() - interval '100 days'
    FROM generate_series(1, :chats) n,
        LATERAL (SELECT md5('old' || n)::uuid AS a, md5('old' || (n + :chats))::uuid AS b) pair
"""
_MEMBERS = """
    INSERT INTO chat_members (chat_id, user_id, delivered_seq)
    SELECT c.id, member, c.last_seq FROM chats c, unnest(ARRAY[c.user_lo, c.user_hi]) member
    WHERE c.last_seq = :messages
"""
_MESSAGES = """
    INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at)
    SELECT c.id, n, gen_random_uuid(), c.user_lo, c.user_hi,
        (SELECT string_agg(md5(random()::text || part || n), ' ') FROM generate_series(1, :words) part),
        gen_random_uuid()::text, date_trunc('day', now(), 'UTC') - interval '100 days' + n * interval '1 s'
    FROM chats c, generate_series(CAST(:first AS int), CAST(:last AS int)) n
    WHERE c.activity_at < now() - interval '99 days'
"""


class _NoQueue:
    def put(self, notification_ids: Collection[uuid.UUID]) -> None:
        raise AssertionError("the archive notifies nobody")


def _peak_mb() -> float:
    """Return the most memory this process has had so far; `getrusage` begins with that of its parent."""
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) / 1024


def run_archive(database_url: str) -> None:
    """Run the archive in this process; print its cost as JSON."""
    os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")
    os.environ.update(AWS_DEFAULT_REGION="us-east-1", MOTO_S3_DEFAULT_KEY_BUFFER_SIZE="65536")
    peaks: dict[str, float] = {}
    put = ArchiveBucket.put

    def note_and_put(*arguments: Any) -> bool:
        peaks.setdefault("before_s3_mb", _peak_mb())
        return put(*arguments)

    setattr(ArchiveBucket, "put", note_and_put)  # noqa: B010
    with mock_aws():
        make_client().create_bucket(Bucket=BUCKET)
        settings = FunctionSettings.load(database_url=database_url, archive_bucket=BUCKET)
        context = Context.make(settings, _NoQueue())
        with context.engine.connect():
            peaks["start_mb"] = _peak_mb()
        pacer = Pacer(600)
        summary = archive(context, pacer, False)
    print(json.dumps({**summary, **peaks, "peak_mb": _peak_mb(), "took_s": pacer.elapsed_s}))


@dataclass(frozen=True)
class Period:
    """What the clients measured in one period."""

    seconds: float
    latencies_ms: list[float]

    def quantile(self, hundredth: int) -> float:
        """Return a percentile of the time from when a message was due to its ack."""
        return statistics.quantiles(self.latencies_ms, n=100, method="inclusive")[hundredth - 1]

    def __str__(self) -> str:
        return (
            f"{self.seconds:5.1f} s, {len(self.latencies_ms):5} messages, "
            f"p50 {self.quantile(50):6.1f} ms, p99 {self.quantile(99):6.1f} ms"
        )


class _Load:
    """Clients that send on schedule, whether or not the previous send is finished."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients

    async def run(self, shortest_s: float, beside: "asyncio.Task[Any] | None" = None) -> Period:
        """Send for that long, and until the run beside it is finished."""
        began = time.monotonic()
        sends: list[asyncio.Task[float]] = []
        while time.monotonic() - began < shortest_s or not (beside is None or beside.done()):
            due = began + len(sends) / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sends.append(asyncio.create_task(self._send(len(sends), due)))
        latencies = await asyncio.gather(*sends)
        return Period(time.monotonic() - began, latencies)

    async def _send(self, number: int, due: float) -> float:
        index = number % len(self._clients)
        ack = await self._clients[index].send(self._clients[index ^ 1].username, f"message {number}")
        assert ack["success"], ack
        return (time.monotonic() - due) * 1000


async def _archive(deployment: Deployment) -> dict[str, Any]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmark.archive_under_load", deployment.store.database_url),
        env=deployment.env,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate()
    assert child.returncode == 0, out
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert result["messages"] == CHATS * MESSAGES_A_CHAT, result
    return result


def _fill(deployment: Deployment) -> None:
    """Insert the old messages, again if they have been archived."""
    deployment.rows("DELETE FROM archived_chats")
    step = 10
    for first in range(1, MESSAGES_A_CHAT + 1, step):
        deployment.rows(_MESSAGES, first=first, last=first + step - 1, words=WORDS)
    deployment.rows("ANALYZE messages")


async def _measure(deployment: Deployment) -> None:
    clients = [Client(f"user{number}") for number in range(2 * PAIRS)]
    try:
        for one in clients:
            await one.connect(deployment.edges[0])
        await _take_turns(deployment, _Load(clients))
    finally:
        for one in clients:
            await one.close()


async def _take_turns(deployment: Deployment, load: _Load) -> None:
    await asyncio.to_thread(_fill, deployment)
    warm_up = asyncio.create_task(_archive(deployment))
    length = max(SHORTEST_S, (await load.run(0.0, warm_up)).seconds)
    ratios = []
    for _ in range(TURNS):
        await asyncio.to_thread(_fill, deployment)
        without = await load.run(length)
        archiving = asyncio.create_task(_archive(deployment))
        beside = await load.run(length, archiving)
        ratios.append(beside.quantile(99) / without.quantile(99))
        print(f"without  {without}\nwith     {beside}   p99 x {ratios[-1]:.2f}")
        _tell(await archiving)
    print(
        f"p99 with / without: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}"
    )


def _tell(result: dict[str, Any]) -> None:
    print(
        f"         archived in {result['took_s']:.1f} s; memory {result['start_mb']:.0f} MB at first, "
        f"{result['before_s3_mb']:.0f} MB before S3 got the object, {result['peak_mb']:.0f} MB at most; "
        f"object {result['bytes'] / 2**20:.1f} MB"
    )


def main() -> None:
    """Start everything, measure, stop everything."""
    with tempfile.TemporaryDirectory() as folder:
        engines = Engines(Path(folder))
        engines.start()
        deployment = Deployment(engines.new_store(), Path(folder))
        try:
            deployment.start(edges=1, workers=1)
            for statement in (_PEOPLE, _CHATS, _MEMBERS):
                deployment.rows(statement, chats=CHATS, messages=MESSAGES_A_CHAT)
            print(
                f"{CHATS * MESSAGES_A_CHAT} old messages in {CHATS} chats, batches of "
                f"{message_file.BATCH_SIZE}; {2 * PAIRS} clients send {RATE:.0f} messages a second"
            )
            asyncio.run(_measure(deployment))
        finally:
            deployment.stop()
            engines.stop()


if __name__ == "__main__":
    run_archive(sys.argv[1]) if len(sys.argv) > 1 else main()
