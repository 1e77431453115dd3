"""Ties a program to the process that starts it: when that process dies, however it dies, the program ends.

This is a script that runs the program; `tether(argv, ...)` returns the command line. It drops root first if
asked to, because changing the user undoes the tie (prctl(2), PR_SET_PDEATHSIG). The tie is to the *thread*
that starts the program, so start it from the main thread. Only Linux can do this; elsewhere the program
runs untied.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def tether(
    argv: Sequence[str], death_signal: signal.Signals = signal.SIGKILL, owner: tuple[int, int] | None = None
) -> list[str]:
    """Return the command line that runs `argv` and sends it `death_signal` when the caller dies.

    `owner` is the user and group id to run it as; only root can use it.
    """
    uid, gid = owner or (-1, -1)
    shim = [sys.executable, "-I", "-S", __file__]
    return [*shim, str(os.getpid()), str(int(death_signal)), str(uid), str(gid), *argv]


def _main() -> None:
    parent, death_signal, uid, gid = (int(word) for word in sys.argv[1:5])
    argv = sys.argv[5:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            sys.exit("the parent process is gone")
    os.execv(argv[0], argv)


if __name__ == "__main__":
    _main()
