"""One run: clients write to each other, a fault strikes, and the results are counted."""

import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tests.faults import checker
from tests.faults.apart import NearEngines
from tests.faults.checker import DELIVERED_WITHIN_S, Counts
from tests.faults.clients import OTHERS, FaultClient
from tests.faults.disk import SmallDisk
from tests.faults.faults.fault import Fault
from tests.faults.field import Field
from tests.harness.engines import Engines
from tests.harness.sentinel import SentinelSet
from tests.harness.slow_link import slow_link
from tests.harness.waiting import until

PAIRS: Final = 20
IN_FLIGHT: Final = 3
"""Unacked messages of a client at any time."""
_RATE: Final = 400
"""Maximum messages per second of all clients together."""
_ASKS_EVERY_S: Final = 1.0
"""How often a client makes another request."""
_CHANGES_EVERY_S: Final = 0.5
"""How often a client changes a message."""
_BLOCKERS: Final = 5
"""How many clients block and unblock their peers in turn: the last ones, so that in some pairs both do."""
_BLOCKS_EVERY_S: Final = 0.7
"""How often they do either."""
_STRIKES_AFTER: Final = 0.2
"""The fault strikes when this share of the messages is acked."""
_PATIENCE_S: Final = 180.0
"""A run that has not finished by then has failed."""


@dataclass(frozen=True)
class Report:
    """The result of a run."""

    fault: Fault
    messages: int
    tries: int
    others: int
    """Requests other than sends, changes and blocks."""
    changes: int
    blocks: int
    """Blocks, and ends of blocks."""
    counts: Counts
    recovery_s: float
    took_s: float
    notes: list[str]
    wrong: list[str]
    margin_s: float

    @property
    def passed(self) -> bool:
        """Whether the promise was kept."""
        in_time = self.fault.recovery_s is None or self.recovery_s <= self.fault.recovery_s + self.margin_s
        return not self.counts.broken and in_time and not self.wrong


def run(fault: Fault, messages: int, margin_s: float = 0.0, *, forked: bool = False) -> Report:
    """Send at least that many messages, break something meanwhile, and count.

    Each time that a promise names may be exceeded by the margin, where others share the machine. Processes
    that are forked start sooner than those of a real chat.
    """
    began_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bbgram-faults-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        disk = SmallDisk(folder / "engines" / "postgres") if fault.needs_disk else None
        link = stack.enter_context(slow_link()) if fault.needs_link else None
        engines = NearEngines(folder / "engines") if link else Engines(folder / "engines")
        sentinels = SentinelSet(folder / "sentinels") if fault.has_sentinels else None
        try:
            engines.start()
            store = engines.new_store()
            if sentinels is not None:
                sentinels.start()
                store = replace(store, redis_url=sentinels.url())
            (folder / "chat").mkdir()
            field = Field(
                engines, store, folder / "chat", disk, sentinels, link, forked=forked, **fault.settings
            )
            field.records.margin_s = margin_s + fault.way_s
            asyncio.run(_play(field, fault, messages))
        finally:
            if sentinels is not None:
                sentinels.stop()
            engines.stop()
            if disk is not None:
                disk.close()
    return Report(
        fault,
        messages=len(field.records.sent),
        tries=sum(len(sent.tries) for sent in field.records.sent),
        others=len(field.records.asked),
        changes=len(field.records.changes),
        blocks=len(field.records.blocks),
        counts=checker.check(field.records),
        recovery_s=checker.recovery_s(field.records),
        took_s=time.monotonic() - began_at,
        notes=field.notes,
        wrong=field.wrong,
        margin_s=margin_s,
    )


async def _play(field: Field, fault: Fault, messages: int) -> None:
    try:
        field.start(fault.worker)
        await field.connect(PAIRS)
        await _work(field, fault, messages)
    finally:
        await field.stop()


async def _work(field: Field, fault: Fault, messages: int) -> None:
    stop = asyncio.Event()
    pace = 2 * PAIRS * IN_FLIGHT / _RATE
    writers = [
        asyncio.create_task(_write(field, client, slot, messages // (2 * PAIRS * IN_FLIGHT) + 1, pace, stop))
        for client in field.clients
        for slot in range(IN_FLIGHT)
    ]
    others, over = itertools.cycle(OTHERS), asyncio.Event()
    askers = [
        asyncio.create_task(asking)
        for client in field.clients
        for asking in _asking(field, client, others, over)
    ]
    recipients = [client.user_id for client in field.clients]
    askers.append(asyncio.create_task(field.backend.send_until(over, recipients)))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            if not fault.at_once:
                enough = messages * _STRIKES_AFTER
                await until(lambda: field.acked_of(field.clients) >= enough, "enough is acked", _PATIENCE_S)
            await fault.strike(field)
            stop.set()
            await asyncio.gather(*writers)
            over.set()
            await asyncio.gather(*askers)
    except TimeoutError:
        field.wrong.append(f"not through after {_PATIENCE_S:.0f} s")
    for task in (*writers, *askers):
        task.cancel()
    field.records.ended_at = time.monotonic()
    field.look_after_parts()
    field.read_store()
    await field.wait_delivered(DELIVERED_WITHIN_S + 10 + field.records.margin_s)
    await field.wait_confirmed(DELIVERED_WITHIN_S + field.records.margin_s)
    await field.read_copies(DELIVERED_WITHIN_S + field.records.margin_s)
    await field.read_told(DELIVERED_WITHIN_S + field.records.margin_s)


async def _write(
    field: Field,
    client: FaultClient,
    slot: int,
    count: int,
    pace_s: float,
    stop: asyncio.Event,
) -> None:
    """Write at least that many messages, and go on until the fault is over."""
    peer = field.peer_of(client)
    await asyncio.sleep(random.uniform(0, pace_s))
    number = 0
    while number < count or not stop.is_set():
        due = time.monotonic() + pace_s
        await client.send(peer, f"{client.username}/{slot}/{number}")
        number += 1
        await asyncio.sleep(max(0.0, due - time.monotonic()))


def _asking(
    field: Field, client: FaultClient, others: Iterator[str], over: asyncio.Event
) -> Iterator[Coroutine[Any, Any, None]]:
    """Yield what a client does besides sending, until it is over."""
    peer, blocks = field.peer_of(client), itertools.cycle((True, False))
    yield _repeat(lambda: client.ask(next(others), peer), _ASKS_EVERY_S, over)
    yield _repeat(lambda: client.change(peer), _CHANGES_EVERY_S, over)
    if client in field.clients[-_BLOCKERS:]:
        yield _repeat(lambda: client.block(peer, on=next(blocks)), _BLOCKS_EVERY_S, over)


async def _repeat(ask: Callable[[], Awaitable[None]], every_s: float, over: asyncio.Event) -> None:
    await asyncio.sleep(random.uniform(0, every_s))
    while not over.is_set():
        await ask()
        await asyncio.sleep(every_s)
