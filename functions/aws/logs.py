"""Logs on AWS Lambda: Powertools writes our events and those of libraries as JSON."""

import logging
from typing import Final

import structlog
from aws_lambda_powertools import Logger
from structlog.types import EventDict, WrappedLogger

_RESERVED: Final = frozenset(vars(logging.makeLogRecord({}))) - {"exc_info", "stack_info"} | {
    "message",
    "asctime",
}

logger = Logger(utc=True, use_rfc3339=True)
"""Adds the request id to each line. We log with structlog, never with this."""


def configure_logs() -> None:
    """Send structlog and stdlib logging through the handler of Powertools. Call once per process.

    The level is INFO whatever POWERTOOLS_LOG_LEVEL says, because botocore logs secrets below it.
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
    """Append `_` to fields that stdlib logging rejects, such as `name` and `module`."""
    return {f"{key}_" if key in _RESERVED else key: value for key, value in event_dict.items()}
