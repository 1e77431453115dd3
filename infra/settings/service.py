"""Settings that edges and workers share."""

from infra.settings.observability import ObservabilitySettings
from infra.settings.values import RedisAddress


class ServiceSettings(ObservabilitySettings):
    """The settings that edges, workers and beat share."""

    redis_url: RedisAddress
    """`redis://` or [`rediss://`](#tls) address of the one Redis that edges, workers and functions share; of
    the functions, only `offline_delivery` needs it."""
