"""What a function stands on. Its host (Celery, AWS Lambda, the command line) makes one and keeps it."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

from redis import Redis
from sqlalchemy import Engine

from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings
from infra.store.engine import make_engine

Summary = dict[str, Any]
"""What a run has done: names and numbers, for one log event. No texts, no tokens."""

_REDIS_TIMEOUT_S = 3.0
_REST_MAX_S = 1.0


class NotificationQueue(Protocol):
    """Where the host keeps notifications until `push` takes them."""

    def put(self, notification_ids: Collection[UUID]) -> None:
        """Put them on the queue, at least once. Raises what the host's client raises."""
        ...


@dataclass(frozen=True)
class Context:
    """Settings and connections, made once and shared by all runs in a process."""

    settings: FunctionSettings
    engine: Engine
    queue: NotificationQueue

    @classmethod
    def make(cls, settings: FunctionSettings, queue: NotificationQueue) -> "Context":
        """Return a context that connects on first use."""
        return cls(settings, make_engine(settings.database_url, pooled=settings.database_pooled), queue)

    @cached_property
    def redis(self) -> Redis:
        """The Redis of edges and workers. Raises SettingsError without an address."""
        if self.settings.redis_url is None:
            raise SettingsError("BBGRAM_REDIS_URL is not set; this function needs it.")
        return Redis.from_url(
            self.settings.redis_url,
            socket_timeout=_REDIS_TIMEOUT_S,
            socket_connect_timeout=_REDIS_TIMEOUT_S,
        )


class Stopwatch:
    """Tells a run when to begin nothing new, and lets others have their turn."""

    def __init__(self, run_s: float) -> None:
        self._began = self._rested_at = time.monotonic()
        self._run_s = run_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        """Whether what is left waits for the next run."""
        return self.elapsed_s >= self._run_s

    def rest(self) -> None:
        """Sleep twice as long as the work since the last rest took, so that chats are not kept waiting."""
        time.sleep(min(2 * (time.monotonic() - self._rested_at), _REST_MAX_S))
        self._rested_at = time.monotonic()
