"""What an edge knows of the workers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from infra.wire.batch import Batch
from infra.wire.errors import ErrorCode
from infra.wire.inbox import InboxEntry
from socket_edge.relay import workers as module
from socket_edge.relay.workers import WorkerState, WorkerWatch


class Watched:
    """A watch with a clock of its own, which records the batches that ask."""

    def __init__(self) -> None:
        self.now = 100.0
        self.can_hear = asyncio.Event()
        self.can_hear.set()
        self.asked = asyncio.Queue[tuple[Batch, bool]]()
        self.watch = WorkerWatch("edge-1", self._dispatch, self._wait, lambda: self.now)

    def answer(self, retry: ErrorCode | None = None) -> None:
        self.watch.note(InboxEntry("batch", retry=retry))

    async def _dispatch(self, batch: Batch, cautious: bool) -> bool:
        self.asked.put_nowait((batch, cautious))
        return True

    async def _wait(self) -> None:
        await self.can_hear.wait()

    def told(self) -> tuple[str, str | None]:
        """Return the state, and its reason."""
        return self.watch.state, self.watch.reason

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.watch.run())
        yield
        task.cancel()


@pytest.fixture
def watched() -> Watched:
    return Watched()


async def test_workers_are_silent_until_one_has_answered(watched: Watched) -> None:
    assert watched.told() == ("silent", "no worker has answered since this edge started")
    watched.answer()
    assert watched.told() == ("answering", None)


async def test_workers_count_as_silent_when_none_has_answered_for_long(watched: Watched) -> None:
    watched.answer()
    watched.now += module._SILENT_S
    assert watched.told() == ("answering", None)
    watched.now += 1
    assert watched.told() == ("silent", "no worker has answered for 16 s")


async def test_workers_that_cannot_reach_postgres_are_unavailable(watched: Watched) -> None:
    watched.answer(ErrorCode.UNAVAILABLE)
    assert watched.told() == ("unavailable", "the workers cannot reach Postgres")
    watched.answer()
    assert watched.told() == ("answering", None)


async def test_only_the_result_of_a_batch_is_an_answer(watched: Watched) -> None:
    watched.watch.note(InboxEntry())
    assert watched.watch.state is WorkerState.SILENT


async def test_a_worker_is_asked_once_it_can_be_heard(watched: Watched) -> None:
    watched.can_hear.clear()
    async with watched.running():
        await asyncio.sleep(0)
        assert watched.asked.empty()
        watched.can_hear.set()
        batch, cautious = await watched.asked.get()
    assert (batch.edge_id, batch.events, cautious) == ("edge-1", [], True)


async def test_a_worker_is_asked_again_only_if_nothing_was_heard_for_a_while(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard_at, asked_at, done = 107.0, list[float](), asyncio.Event()

    async def sleep(seconds: float) -> None:
        end = watched.now + seconds
        while not watched.asked.empty():
            watched.asked.get_nowait()
            asked_at.append(watched.now)
        if watched.now < heard_at <= end:
            watched.now = heard_at
            watched.answer()
        watched.now = end
        if len(asked_at) == 3:
            done.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    async with watched.running():
        await done.wait()
    assert asked_at == [100, 105, heard_at + module._ASK_S]


async def test_a_change_is_logged_once(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter([ErrorCode.UNAVAILABLE, ErrorCode.UNAVAILABLE, None, None])
    done = asyncio.Event()

    async def sleep(_: float) -> None:
        retry = next(steps, "end")
        if retry == "end":
            done.set()
            await asyncio.Event().wait()
        watched.answer(None if retry is None else ErrorCode.UNAVAILABLE)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with capture_logs() as logs:
        async with watched.running():
            await done.wait()
    assert [(one["event"], one.get("reason")) for one in logs] == [
        ("workers_do_not_answer", "the workers cannot reach Postgres"),
        ("workers_answer_again", None),
    ]
