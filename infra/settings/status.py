"""Settings of `bbgram status`."""

from infra.settings.base import Settings
from infra.settings.store import SCHEMA, StoreSettings
from infra.settings.values import RedisAddress, RedisPrefix


class StatusSettings(Settings):
    """Redis is enough; with a database, it also shows what piles up there."""

    redis_url: RedisAddress
    redis_prefix: RedisPrefix = ""
    database_url: str | None = None
    database_schema: str = SCHEMA
    database_pooled: bool = False
    beat_functions: bool = True

    def store(self) -> StoreSettings | None:
        """Return how to reach the database, if that is set. Raises SettingsError."""
        return StoreSettings.load() if self.database_url else None
