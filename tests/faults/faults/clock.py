"""A worker whose clock is wrong."""

import asyncio
import time
from contextlib import suppress
from typing import Final

import psutil

from tests.faults.clients import FaultClient
from tests.faults.faults.fault import fault, point
from tests.faults.field import Field
from tests.faults.needs import FAKETIME, faketime
from tests.harness.waiting import until

_BESIDE: Final = 1_000
"""How many messages are acked while a right clock runs beside the wrong one."""
_SWEPT_S: Final = 16.0
"""The sweep looks for a message when it is 10 s old, every 5 s, and then it is delivered."""


@fault("clock of a worker two hours ahead", "order by seq, no duplicates, no early expiry", needs=(FAKETIME,))
async def worker_ahead(field: Field) -> None:
    """Put the clock of a worker forward, first beside a right one, then alone."""
    wrong = {"LD_PRELOAD": str(faketime()), "FAKETIME": "+2h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    await field.replace_worker(field.chat.workers[0], {**wrong, **point("lost_publication")})
    before = len(field.records.sent)
    right, wrong_one = field.chat.workers
    libraries = psutil.Process(wrong_one.process.pid).memory_maps()
    field.expect(any("libfaketime" in one.path for one in libraries), "the clock was right")
    acked = field.acked_of(field.clients)
    await until(lambda: field.acked_of(field.clients) >= acked + _BESIDE, "both workers handle messages")
    alice, bob = field.add("alone0", "alone1")
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.to_thread(right.stop)
    field.chat.workers.remove(right)
    await _wait_swept(field, alice, bob)
    field.start_worker()
    codes = {one.code for sent in field.records.sent[before:] for one in sent.tries}
    # The latter during a block.
    field.expect(codes <= {"ok", None, "not_allowed"}, f"requests failed: {codes}")
    field.healed()


async def _wait_swept(field: Field, alice: FaultClient, bob: FaultClient) -> None:
    """Have a message stored that is not published, and wait until the only worker has swept it."""
    before = field.acked_of(field.clients)
    sent = await alice.send(bob, "unpublished")
    acked_at = time.monotonic()
    with suppress(TimeoutError):
        async with asyncio.timeout(_SWEPT_S):
            await bob.wait_got({str(sent.message_id)})
    took_s = time.monotonic() - acked_at
    acks = field.acked_of(field.clients) - before
    field.notes.append(f"alone, it handled {acks} messages and swept a lost one after {took_s:.1f} s")
    field.expect(took_s > 5, "the message was not lost")
    field.expect(took_s < _SWEPT_S, "it was not swept")
