"""Stops engines that outlived their stack, so that no two ever share a data folder."""

import contextlib
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

_POLITE_S: Final = 5.0
_KILL_S: Final = 2.0
_POLL_S: Final = 0.01


def stop_leftovers(program: str, folder: Path, polite: signal.Signals) -> None:
    """Stop every `program` that runs in `folder`, and wait until all have ended."""
    leftovers = [process for process in psutil.process_iter() if _works_in(process, program, folder)]
    for process in leftovers:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(polite)
    _, stubborn = psutil.wait_procs(leftovers, timeout=_POLITE_S)
    kill_all(stubborn)


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """Kill processes, and wait until all have ended. Those of Postgres would go on for a moment."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + _KILL_S
    while not all(map(_has_ended, processes)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _has_ended(process: psutil.Process) -> bool:
    """Return whether it has ended, reaped or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _works_in(process: psutil.Process, program: str, folder: Path) -> bool:
    try:
        return process.name() == program and Path(process.cwd()) == folder
    except (psutil.Error, OSError):
        return False
