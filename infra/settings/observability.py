"""What a process shows of itself: logs, metrics and traces."""

from enum import StrEnum

from pydantic import Field

from infra.settings.base import Settings
from infra.settings.values import Host


class LogLevel(StrEnum):
    """The least level of the log lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogSettings(Settings):
    """Settings of everything that logs."""

    log_json: bool = True
    """`true` logs JSON lines, `false` logs text for people."""
    log_level: LogLevel = LogLevel.INFO
    """Least level that is logged: `debug`, `info`, `warning` or `error`. `debug` is for this project's own
    lines; libraries, which may log what clients send, stay at `info`."""


class ObservabilitySettings(LogSettings):
    """Settings of every process that runs for long."""

    metrics_port: int | None = Field(None, ge=1, le=65_535)
    """Port on which the process serves [metrics](operations.md#metrics) at `/metrics`; each process needs its
    own. None are served when it is not set."""
    metrics_host: Host = "127.0.0.1"
    """Address for that; `0.0.0.0` in a container."""
    trace_ratio: float = Field(0, ge=0, le=1)
    """Share of the clients' events that are [traced](operations.md#traces), chosen by the edge; workers trace
    what edges have chosen, unless it is `0` there."""
