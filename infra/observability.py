"""Starts what lets operators see a process: logs, metrics and traces."""

from infra.logs import configure_logs
from infra.metrics.serve import serve_metrics
from infra.settings.observability import ObservabilitySettings
from infra.tracing import start_tracing


def observe(settings: ObservabilitySettings, part: str) -> None:
    """Log, serve metrics and trace, as the settings say. Call once, at the start. Raises SettingsError."""
    configure_logs(as_json=settings.log_json, level=settings.log_level)
    serve_metrics(settings, part)
    start_tracing(settings.trace_ratio, part)
