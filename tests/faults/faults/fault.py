"""What a fault is, and the decorator that makes one of the coroutine that strikes."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.faults.field import Field
from tests.faults.needs import Need

_ROOT: Final = Path(__file__).parents[3]
_INJECT: Final = _ROOT / "tests" / "faults" / "inject"

Strike = Callable[[Field], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """What is done to a running chat, and what is still promised."""

    name: str
    promise: str
    strike: Strike
    """Breaks something while messages flow, repairs it, and notes when that was."""
    settings: dict[str, object] = field(default_factory=dict)
    """Of edges, workers and beat."""
    worker: dict[str, str] = field(default_factory=dict)
    """Environment variables of the workers that run at the start."""
    recovery_s: float | None = None
    """How soon after the repair everybody must be served again."""
    at_once: bool = False
    """Whether it strikes with the first message; otherwise it waits until some of them are acked."""
    needs: tuple[Need, ...] = ()
    """What must be here before anything is started."""
    has_sentinels: bool = False
    """Whether Redis is a primary with a replica, which Sentinels watch."""
    needs_disk: bool = False
    """Whether Postgres has to live on a small file system."""
    needs_link: bool = False
    """Whether edges, workers and beat have to be at the far end of a link."""
    way_s: float = 0.0
    """How long requests and answers may be on their way, beside each time that a promise names."""


def fault(name: str, promise: str, **more: Any) -> Callable[[Strike], Fault]:
    """Return a decorator that turns a strike into a fault; `more` are the fields of `Fault`."""

    def make(strike: Strike) -> Fault:
        return Fault(name, promise, strike, **more)

    return make


def point(name: str, **more: str) -> dict[str, str]:
    """Return the environment of a worker that fails at a point of `tests/faults/inject`."""
    path = os.pathsep.join((str(_ROOT), str(_INJECT)))
    return {"PYTHONPATH": path, "FAULT_POINT": name, "FAULT_AFTER": "25", **more}
