"""Keeps background tasks until they end; asyncio itself holds them only weakly."""

import asyncio
import sys
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)

_PAUSE_S = 1.0
_AGAIN_S = 0.1


async def keep_running(part: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a part of the edge until cancelled; one that fails is logged and started again."""
    while True:
        try:
            await part()
        except Exception:
            log.exception("part_failed", part=part.__qualname__)
        await asyncio.sleep(_PAUSE_S)


async def stop(parts: Collection[asyncio.Task[None]]) -> None:
    """Cancel parts until they have ended.

    Once is not enough: redis-py may mistake a cancellation for one of its own time-outs.
    """
    left = set(parts)
    while left:
        for part in left:
            part.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)


class Tasks:
    """A set of running tasks. One that fails is logged; it takes nothing else down."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, None], *, eager: bool = False) -> asyncio.Task[None]:
        """Run `work` in the background. If it is `eager`, it begins in this call, from Python 3.12 on."""
        task = _start_at_once(work) if eager else asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def wait(self) -> None:
        """Return when the tasks that run now have ended."""
        if self._running:
            await asyncio.wait(self._running)

    async def stop(self) -> None:
        """Cancel the tasks until they have ended."""
        await stop(self._running)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_failed", exc_info=error)


def _start_at_once(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    if sys.version_info < (3, 12):
        return asyncio.create_task(work)
    return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
