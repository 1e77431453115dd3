"""Child processes: their output, their process group, and how they ended."""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable
from typing import Final

_LAST_LINES_S: Final = 0.5


def how_it_ended(code: int) -> str:
    """Describe the exit code of a process."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def end_group(process: Process | None) -> None:
    """Kill a process and its children; does nothing if they have ended."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


async def wait_forwarding(process: Process, show: Callable[[str], None]) -> int:
    """Show every line that a process writes, and return its exit code."""
    lines = asyncio.create_task(_forward(process.stdout, show))
    try:
        return await process.wait()
    finally:
        await asyncio.wait({lines}, timeout=_LAST_LINES_S)
        lines.cancel()


async def _forward(output: asyncio.StreamReader | None, show: Callable[[str], None]) -> None:
    if output is None:
        return
    while True:
        try:
            line = await output.readline()
        except ValueError:  # the line was longer than the reader's limit, and is lost
            continue
        if not line:
            return
        show(line.decode(errors="replace").rstrip())
