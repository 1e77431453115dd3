"""What a function works with. Its host (Celery, AWS Lambda or the command line) creates and keeps it."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

from redis import Redis
from sqlalchemy import Engine

from infra.presence import PresenceReader
from infra.redis_client import make_redis
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings
from infra.store.engine import make_engine

Summary = dict[str, Any]
"""The results of a run: names and numbers for one log event. No texts, no tokens."""

_REDIS_TIMEOUT_S = 3.0


class NotificationQueue(Protocol):
    """Where the host keeps the ids of notifications until `push` takes them."""

    def put(self, notification_ids: Collection[UUID]) -> None:
        """Put each id on the queue at least once. Raises what the host's client raises."""
        ...


@dataclass(frozen=True)
class Context:
    """Settings and connections, made once and shared by all runs of a process."""

    settings: FunctionSettings
    engine: Engine
    queue: NotificationQueue

    @classmethod
    def make(cls, settings: FunctionSettings, queue: NotificationQueue) -> "Context":
        """Return a context that connects on first use."""
        engine = make_engine(
            settings.database_url, schema=settings.database_schema, pooled=settings.database_pooled
        )
        return cls(settings, engine, queue)

    @cached_property
    def redis(self) -> Redis:
        """The Redis of edges and workers. Raises SettingsError without an address."""
        if self.settings.redis_url is None:
            raise SettingsError("BBGRAM_REDIS_URL is not set; this function needs it.")
        return make_redis(self.settings.redis_url, _REDIS_TIMEOUT_S)

    @cached_property
    def presence(self) -> PresenceReader:
        """Who is online. Raises SettingsError without an address."""
        return PresenceReader(self.redis, prefix=self.settings.redis_prefix)
