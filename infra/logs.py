"""Structured logs: events with fields, JSON lines in production. Never a token or a message text."""

import logging
import sys

import structlog
from structlog.types import Processor


def configure_logs(*, as_json: bool, level: int = logging.INFO) -> None:
    """Send structlog and stdlib logging to stderr in one format. Call once, in an entry point."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = structlog.processors.JSONRenderer() if as_json else _console()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    finish: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        finish.append(structlog.processors.format_exc_info)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*finish, renderer])
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Tells with each client that it has found credentials.
    logging.getLogger("botocore").setLevel(logging.WARNING)


def _console() -> structlog.dev.ConsoleRenderer:
    """Return a renderer whose tracebacks show no locals: they may hold tokens and texts."""
    return structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
