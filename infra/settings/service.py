"""Settings that edges and workers share."""

from infra.settings.observability import ObservabilitySettings
from infra.settings.values import RedisAddress, RedisPrefix


class ServiceSettings(ObservabilitySettings):
    """The settings that edges, workers and beat share."""

    redis_url: RedisAddress
    """`redis://` or [`rediss://`](#tls) address of the one Redis that edges, workers and functions share, or
    that of its [Sentinels](#redis-with-failover); of the functions, only `offline_delivery` needs it."""
    redis_prefix: RedisPrefix = ""
    """Comes before every key and channel in Redis, so that
    [several deployments](#several-deployments-on-one-redis) can share one; the same for all its parts."""
