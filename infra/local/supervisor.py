"""Keeps the parts of the local stack running, and stops them in order."""

import asyncio
import signal
import subprocess
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infra.errors import CommandError
from infra.local.process import end_group, how_it_ended, wait_forwarding
from infra.local.terminal import Terminal

START_S: Final = 30.0
"""A part that is not ready after this time has failed to start."""

_FIRST_DELAY_S: Final = 0.3
_LONGEST_DELAY_S: Final = 10.0
_STEADY_S: Final = 30.0
_POLL_S: Final = 0.05
_LOOK_S: Final = 0.2
"""How long after the end of a part `check` is called: whoever deletes its data may not be done yet."""


@dataclass(frozen=True)
class Part:
    """A program of the stack. Lower `stop_rank`s stop first; each part has `stop_s` to stop."""

    name: str
    argv: Callable[[], list[str]]
    env: Mapping[str, str] | None = None
    prepare: Callable[[], None] = lambda: None
    """Called before every start, in a thread. May raise CommandError."""
    is_ready: Callable[[], bool] = lambda: True
    """Called in a thread until it returns True."""
    stop_rank: int = 0
    stop_s: float = 2.0
    stop_signal: signal.Signals = signal.SIGTERM
    log: Path | None = None
    """File for its output; if None, every line is shown."""
    why_it_ended: Callable[[], str] | None = None


@dataclass
class _Kept:
    part: Part
    once: bool = False
    ready: bool = False
    process: Process | None = None
    task: "asyncio.Task[None]" = field(init=False)


class Supervisor:
    """Starts parts, restarts those that die, and stops them."""

    def __init__(self, terminal: Terminal, check: Callable[[], None] = lambda: None) -> None:
        """When a part has ended, `check` raises CommandError if the reason is one for all parts."""
        self._terminal = terminal
        self._check = check
        self._kept: list[_Kept] = []
        self._stopping = asyncio.Event()

    async def start(self, part: Part) -> None:
        """Start a part, return when it is ready, and keep it running. Raises CommandError."""
        kept = self._keep(part)
        deadline = time.monotonic() + START_S
        while not kept.task.done():
            if kept.process is not None:
                kept.ready = await asyncio.to_thread(part.is_ready)
            if kept.ready:
                return
            if time.monotonic() > deadline:
                raise CommandError(f"{part.name} was not ready after {START_S:.0f} s")
            await asyncio.sleep(_POLL_S)
        await kept.task

    async def run(self, part: Part) -> None:
        """Run a part that ends by itself. Raises CommandError if it fails."""
        await asyncio.shield(self._keep(part, once=True).task)

    async def watch(self) -> None:
        """Wait forever. Raises the error of the first part that cannot be kept running."""
        tasks = [kept.task for kept in self._kept if not kept.once]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Stop all parts rank by rank, and kill those that do not end in time."""
        self._stopping.set()
        for rank in sorted({kept.part.stop_rank for kept in self._kept}):
            ranked = [kept for kept in self._kept if kept.part.stop_rank == rank]
            await asyncio.gather(*(self._stop(kept) for kept in ranked))

    def kill(self) -> None:
        """Kill all parts at once."""
        self._stopping.set()
        for kept in self._kept:
            end_group(kept.process)

    def _keep(self, part: Part, *, once: bool = False) -> _Kept:
        kept = _Kept(part, once)
        self._kept.append(kept)
        kept.task = asyncio.create_task(self._run(kept), name=part.name)
        return kept

    async def _run(self, kept: _Kept) -> None:
        delay_s = _FIRST_DELAY_S
        while not self._stopping.is_set():
            started = time.monotonic()
            failure: CommandError | OSError
            try:
                code = await self._run_once(kept)
            except (CommandError, OSError) as error:
                code, reason, failure = -1, f"{kept.part.name} cannot be started: {error}", error
            else:
                reason = self._reason(kept.part, code)
                failure = CommandError(reason)
            if kept.once and code == 0:
                return
            await self._pause(_LOOK_S)
            if self._stopping.is_set():
                return
            self._check()
            if not kept.ready:
                raise failure
            if time.monotonic() - started > _STEADY_S:
                delay_s = _FIRST_DELAY_S
            self._terminal.line("stack", f"{reason}; starting it again in {delay_s:.1f} s")
            await self._pause(delay_s)
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)

    async def _run_once(self, kept: _Kept) -> int:
        part = kept.part
        await asyncio.to_thread(part.prepare)
        if self._stopping.is_set():
            return 0
        with part.log.open("wb") if part.log else nullcontext() as log:
            kept.process = await asyncio.create_subprocess_exec(
                *part.argv(),
                stdin=subprocess.DEVNULL,
                stdout=log or subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=part.env,
                process_group=0,
            )
        try:
            return await wait_forwarding(kept.process, lambda text: self._terminal.line(part.name, text))
        finally:
            end_group(kept.process)

    async def _pause(self, delay_s: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay_s)

    async def _stop(self, kept: _Kept) -> None:
        if kept.process and kept.process.returncode is None:
            kept.process.send_signal(kept.part.stop_signal)
        done, _ = await asyncio.wait({kept.task}, timeout=kept.part.stop_s)
        if not done:
            end_group(kept.process)
            done, _ = await asyncio.wait({kept.task}, timeout=1.0)
        for task in done:
            task.exception()  # already raised to the caller that started the part

    @staticmethod
    def _reason(part: Part, code: int) -> str:
        return part.why_it_ended() if part.why_it_ended else f"{part.name} {how_it_ended(code)}"
