"""Waits until something holds, and fails when that takes too long."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any, Final

PATIENCE_S: Final = 60.0
"""How long tests wait for what must happen. On a busy machine, any process may stand still for seconds."""

_SHORTEST_S: Final = 0.02
_LONGEST_S: Final = 0.25
_PART: Final = 1 / 20
"""The pause between two looks, as part of the time waited so far: each may be a query or a request."""


def eventually(
    condition: Callable[[], object],
    what: str,
    timeout_s: float = PATIENCE_S,
    *,
    pause_s: float = _SHORTEST_S,
) -> None:
    """Wait until the condition holds; fail if it does not in time. Pause longer if it is costly to ask."""
    began = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - began
        assert waited_s < timeout_s, f"not within {timeout_s} s: {what}"
        time.sleep(max(pause_s, _pause_s(waited_s)))


async def until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Wait while the event loop runs on until the condition, plain or async, holds; return its result.

    Raises TimeoutError, as the library does.
    """
    began = time.monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            while not (result := await _result(condition)):
                await asyncio.sleep(_pause_s(time.monotonic() - began))
    except TimeoutError:
        raise TimeoutError(f"not within {timeout_s} s: {what}") from None
    return result


def _pause_s(waited_s: float) -> float:
    return min(_LONGEST_S, max(_SHORTEST_S, _PART * waited_s))


async def _result(condition: Callable[[], Any]) -> Any:
    result = condition()
    return await result if inspect.isawaitable(result) else result
