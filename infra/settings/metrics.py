"""Where a process serves its metrics."""

from pydantic import Field

from infra.settings.base import Settings
from infra.settings.values import Host


class MetricsSettings(Settings):
    """Settings of every process that runs for long."""

    metrics_port: int | None = Field(None, ge=1, le=65_535)
    """Port on which the process serves [metrics](operations.md#metrics) at `/metrics`; each process needs its
    own. None are served when it is not set."""
    metrics_host: Host = "127.0.0.1"
    """Address for that; `0.0.0.0` in a container."""
