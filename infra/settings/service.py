"""Settings that edges and workers share."""

from infra.settings.metrics import MetricsSettings
from infra.settings.values import RedisAddress


class ServiceSettings(MetricsSettings):
    """The settings that edges, workers and beat share."""

    redis_url: RedisAddress
    """`redis://` or `rediss://` address of the one Redis that edges, workers and functions share; of the
    functions, only `offline_delivery` needs it."""
    log_json: bool = True
    """`true` logs JSON lines, `false` logs text for people."""
