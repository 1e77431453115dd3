"""Serves the metrics of a process to Prometheus."""

from prometheus_client import start_http_server

from infra.metrics.common import note_part
from infra.metrics.registry import REGISTRY
from infra.settings.base import SettingsError
from infra.settings.observability import ObservabilitySettings


def serve_metrics(settings: ObservabilitySettings, part: str) -> None:
    """Serve `/metrics` from a thread of its own, if there is a port for it. Raises SettingsError."""
    note_part(part)
    if settings.metrics_port is None:
        return
    host, port = settings.metrics_host, settings.metrics_port
    try:
        start_http_server(port, addr=host, registry=REGISTRY)
    except OSError as error:
        raise SettingsError(
            f"Cannot serve metrics on {host}:{port}: {error.strerror}. "
            "Stop what listens there, or choose another BBGRAM_METRICS_PORT: each process needs its own."
        ) from error
