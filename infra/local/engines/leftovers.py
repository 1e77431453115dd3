"""Stops engines that outlived their stack, so that no two ever share a data folder."""

import contextlib
import signal
from pathlib import Path
from typing import Final

import psutil

_POLITE_S: Final = 5.0
_KILL_S: Final = 2.0


def stop_leftovers(program: str, folder: Path, polite: signal.Signals) -> None:
    """Stop every `program` that runs in `folder`, and wait until all have ended."""
    leftovers = [process for process in psutil.process_iter() if _works_in(process, program, folder)]
    for process in leftovers:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(polite)
    _, stubborn = psutil.wait_procs(leftovers, timeout=_POLITE_S)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=_KILL_S)


def _works_in(process: psutil.Process, program: str, folder: Path) -> bool:
    try:
        return process.name() == program and Path(process.cwd()) == folder
    except (psutil.Error, OSError):
        return False
