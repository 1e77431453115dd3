"""An exception in the middle of a wait, as a signal handler raises it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """Raised by a signal handler."""


@contextmanager
def interrupted(error: BaseException) -> Iterator[None]:
    """Raise an exception in the main thread, wherever it is in a moment."""

    def strike(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
