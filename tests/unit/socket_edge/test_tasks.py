"""What runs in the background: it ends when it is told to, also when a library stands in the way."""

import asyncio

from socket_edge.tasks import keep_running, stop


async def test_a_part_that_takes_a_cancellation_for_something_else_ends_all_the_same() -> None:
    taken = 0

    async def part() -> None:
        nonlocal taken
        while taken < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                taken += 1
        await asyncio.Event().wait()

    running = asyncio.create_task(keep_running(part))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stop([running])
    assert (taken, running.cancelled()) == (3, True)


async def test_a_part_that_fails_is_started_again() -> None:
    started = asyncio.Event()
    failed = False

    async def part() -> None:
        nonlocal failed
        if not failed:
            failed = True
            raise RuntimeError("once")
        started.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(keep_running(part))
    async with asyncio.timeout(5):
        await started.wait()
    await stop([running])


async def test_there_may_be_nothing_to_stop() -> None:
    await stop([])
