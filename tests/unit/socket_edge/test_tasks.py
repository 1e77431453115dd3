"""Background work: it ends when it is told to, and a failure takes nothing else down."""

import asyncio
import gc
import sys

import pytest
from structlog.testing import capture_logs

from socket_edge.tasks import Tasks, keep_running, stop
from tests.harness.waiting import PATIENCE_S


async def test_a_part_that_mistakes_a_cancellation_still_ends() -> None:
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
    async with asyncio.timeout(PATIENCE_S):
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
    async with asyncio.timeout(PATIENCE_S):
        await started.wait()
    await stop([running])


async def test_there_may_be_nothing_to_stop() -> None:
    await stop([])


@pytest.mark.parametrize("eager", [False, True])
async def test_tasks_that_are_stopped_have_ended(eager: bool) -> None:
    tasks, ended = Tasks(), list[str]()

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    for name in ("one", "two"):
        tasks.start(work(name), eager=eager)
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        await tasks.stop()
    assert sorted(ended) == ["one", "two"]
    await tasks.stop()


@pytest.mark.parametrize("eager", [False, True])
async def test_only_an_eager_task_begins_in_the_call_that_starts_it(eager: bool) -> None:
    tasks, begun = Tasks(), list[str]()

    async def work() -> None:
        begun.append("work")

    tasks.start(work(), eager=eager)
    assert bool(begun) == (eager and sys.version_info >= (3, 12))
    await tasks.wait()
    assert begun == ["work"]


async def test_waiting_returns_when_the_tasks_that_run_have_ended() -> None:
    tasks, may_end, ended = Tasks(), asyncio.Event(), list[str]()

    async def work(name: str) -> None:
        await may_end.wait()
        ended.append(name)

    for name in ("one", "two"):
        tasks.start(work(name))
    waiting = asyncio.create_task(tasks.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    may_end.set()
    async with asyncio.timeout(PATIENCE_S):
        await waiting
    assert ended == ["one", "two"]


async def test_there_may_be_nothing_to_wait_for() -> None:
    await Tasks().wait()


@pytest.mark.parametrize("eager", [False, True])
async def test_a_task_that_fails_is_logged_and_takes_nothing_else_down(eager: bool) -> None:
    tasks, ended = Tasks(), list[str]()

    async def fail() -> None:
        raise RuntimeError("a defect")

    async def work() -> None:
        ended.append("work")

    with capture_logs() as logs:
        tasks.start(fail(), eager=eager)
        tasks.start(work(), eager=eager)
        await tasks.wait()
        await asyncio.sleep(0)
    assert ended == ["work"]
    assert [(one["event"], str(one["exc_info"])) for one in logs] == [("task_failed", "a defect")]


async def test_a_cancelled_task_is_not_a_failure() -> None:
    tasks = Tasks()

    async def work() -> None:
        await asyncio.Event().wait()

    with capture_logs() as logs:
        tasks.start(work()).cancel()
        await tasks.wait()
        await asyncio.sleep(0)
    assert logs == []


async def test_a_task_is_kept_while_nobody_else_holds_it() -> None:
    tasks, ended = Tasks(), asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        ended.set()

    tasks.start(work())
    gc.collect()
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
