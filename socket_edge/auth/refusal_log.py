"""Tells operators why sign-ins are refused: a log line now and then, and a count by reason."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from infra.wire.errors import ErrorCode, Rejection
from socket_edge.auth.rejections import RefusalReason, TokenRejection
from socket_edge.limits.origins import ForbiddenOrigin

log = structlog.get_logger(__name__)

CONNECT: Final = "connect"

_QUIET_S: Final = 10.0
"""Time between two log lines with the same reason."""
_MAX_CHARS: Final = 200
"""Most of `expected` and `got` that is logged."""

_REASONS: Final = {
    ErrorCode.UNAUTHORIZED: RefusalReason.MALFORMED,
    ErrorCode.INVALID_PAYLOAD: RefusalReason.MALFORMED,
    ErrorCode.TOKEN_EXPIRED: RefusalReason.EXPIRED,
    ErrorCode.UNAVAILABLE: RefusalReason.UNAVAILABLE,
}
"""The reasons of rejections that do not say more than their code."""


class RefusalLog:
    """Logs and counts refused sign-ins and refused `refresh_token` events."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[RefusalReason] = Counter()
        """How many there were since the start, by reason."""
        self._clock = clock
        self._logged: dict[RefusalReason, tuple[float, int]] = {}
        """By reason: when it was last logged, and the count at that time."""
        self._waiting: dict[RefusalReason, tuple[Rejection, str]] = {}
        """By reason: the latest refusal that has no line yet."""

    @contextmanager
    def recorded(self, during: str) -> Iterator[None]:
        """Record a Rejection that the block raises, and let it pass."""
        try:
            yield
        except Rejection as rejection:
            self.record(rejection, during)
            raise

    def record(self, rejection: Rejection, during: str) -> None:
        """Count a refusal; log it unless its reason was logged just now. `during` names what was refused."""
        reason, _, _ = explain(rejection)
        self.counts[reason] += 1
        self._waiting[reason] = rejection, during
        self._write(reason)

    async def run(self) -> None:
        """Log what is still waiting for its turn, until cancelled."""
        while True:
            await asyncio.sleep(_QUIET_S)
            self.flush()

    def flush(self) -> None:
        """Log what has waited for long enough."""
        for reason in list(self._waiting):
            self._write(reason)

    def _write(self, reason: RefusalReason) -> None:
        now = self._clock()
        logged_at, counted = self._logged.get(reason, (float("-inf"), 0))
        if now - logged_at < _QUIET_S:
            return
        rejection, during = self._waiting.pop(reason)
        self._logged[reason] = now, self.counts[reason]
        count = self.counts[reason] - counted
        _, expected, got = explain(rejection)
        if rejection.code is ErrorCode.UNAVAILABLE:
            log.warning(
                "sign_in_unavailable", reason=reason, during=during, expected=expected, got=got, count=count
            )
        else:
            log.info("sign_in_refused", reason=reason, during=during, expected=expected, got=got, count=count)


def explain(rejection: Rejection) -> tuple[RefusalReason, str | None, str | None]:
    """Return why something was refused, what was expected, and what there was instead."""
    if isinstance(rejection, TokenRejection):
        return rejection.reason, _cut(rejection.expected), _cut(rejection.got)
    if isinstance(rejection, ForbiddenOrigin):
        return RefusalReason.ORIGIN, _cut(rejection.expected), _cut(rejection.got)
    return _REASONS.get(rejection.code, RefusalReason.OTHER), None, None


def _cut(text: str | None) -> str | None:
    return text if text is None else text[:_MAX_CHARS]
