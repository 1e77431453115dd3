"""Logs on AWS Lambda: our events and those of libraries leave as JSON in the form of Powertools."""

import logging
from typing import Final

import structlog
from aws_lambda_powertools import Logger
from structlog.types import EventDict, WrappedLogger

_TAKEN: Final = frozenset(vars(logging.makeLogRecord({}))) - {"exc_info", "stack_info"} | {
    "message",
    "asctime",
}

logger = Logger(utc=True, use_rfc3339=True)
"""Gives each line the request it belongs to. Nothing is logged with it: that is what structlog is for."""


def configure_logs() -> None:
    """Send structlog and stdlib logging through the handler of Powertools. Call once a process.

    The level is INFO whatever POWERTOOLS_LOG_LEVEL says: below it, botocore logs secrets.
    """
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _rename, structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [logger.registered_handler]
    root.setLevel(logging.INFO)


def _rename(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    """Move fields aside that stdlib logging would refuse, like `name` and `module`."""
    return {f"{key}_" if key in _TAKEN else key: value for key, value in event_dict.items()}
