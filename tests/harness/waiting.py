"""Waits until something holds, and fails when that takes too long."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any, Final

PATIENCE_S: Final = 60.0
"""How long tests wait for what must happen. On a busy machine, any process may stand still for seconds."""

_PAUSE_S: Final = 0.02


def eventually(
    condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S, *, pause_s: float = _PAUSE_S
) -> None:
    """Wait until the condition holds; fail if it does not in time. Pause longer if it is costly to ask."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(pause_s)


async def until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Wait while the event loop runs on until the condition, plain or async, holds; return its result.

    Raises TimeoutError, as the library does.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not (result := await _result(condition)):
                await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        raise TimeoutError(f"not within {timeout_s} s: {what}") from None
    return result


async def _result(condition: Callable[[], Any]) -> Any:
    result = condition()
    return await result if inspect.isawaitable(result) else result
