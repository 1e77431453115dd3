"""Structured logs: events with fields, JSON lines in production. No token or message text is ever logged.

Nobody can forge a line: JSON escapes what is not ASCII, and the text format escapes what is not printable.
"""

import logging
import re
import sys
from io import StringIO
from typing import Final, TextIO

import structlog
from structlog.types import EventDict, ExcInfo, Processor, WrappedLogger

from infra.metrics.common import LOG_LINES

_WORD: Final = re.compile(r"[!-~]+")
_WORD_CHARS: Final = 200
_WORDS: Final = 5
_OURS: Final = ("functions", "infra", "socket_edge", "workers")


def configure_logs(*, as_json: bool, level: str = "info") -> None:
    """Send structlog and stdlib logging to stderr in one format. Call once, in an entry point.

    Libraries log nothing below `info`: what they log at `debug` may be what clients send.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = structlog.processors.JSONRenderer() if as_json else _console()
    structlog.configure(
        processors=[*shared, _count, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    finish: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info if as_json else _escape,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _count_foreign], processors=[*finish, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]))
    for package in _OURS:
        logging.getLogger(package).setLevel(level.upper())
    # For each client, it logs at INFO that it has found credentials.
    logging.getLogger("botocore").setLevel(logging.WARNING)


def _count(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    LOG_LINES.labels(event["level"], event["event"]).inc()
    return event


def _count_foreign(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    LOG_LINES.labels(event["level"], "other").inc()
    return event


def _console() -> structlog.dev.ConsoleRenderer:
    """Return a renderer whose tracebacks omit locals, which may contain tokens and texts."""
    return structlog.dev.ConsoleRenderer(colors=False, exception_formatter=_indent_traceback)


def _indent_traceback(out: TextIO, error: ExcInfo) -> None:
    """Write a traceback, indented so that no line looks like an event: some quote what clients sent."""
    traceback = StringIO()
    structlog.dev.plain_traceback(traceback, error)
    out.write("".join(f"\n    {printable(line)}" for line in traceback.getvalue().split("\n")[1:]))


def _escape(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}


def printable(text: str) -> str:
    """Return the text with line breaks, control characters and the like escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """Return a value that a client chose, if it is a word, a number or a few words, cut to 200 characters.

    Of anything else it returns the kind: whole sentences of clients have no place in a log.
    """
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(shown(one) for one in value[:_WORDS])[:_WORD_CHARS] or "[]"
    if value is None or isinstance(value, bool | int | float):
        return str(value)[:_WORD_CHARS]
    if isinstance(value, str):
        return value[:_WORD_CHARS] if _WORD.fullmatch(value) else f"text of {len(value)} characters"
    return type(value).__name__
