"""A value in a log line can neither start a second line nor move a cursor."""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO

import pytest
import structlog

from infra.logs import configure_logs, printable, shown

FORGED = "2026-01-01T00:00:00Z [error    ] forged"
NASTY = (
    f"\n{FORGED}",
    f"\r{FORGED}",
    f"\x85{FORGED}",
    f"\u2028{FORGED}",
    f"\x0b{FORGED}",
    "\x1b[2J",
    "\x9b2J",
    "\x00",
    "\x7f",
    "\u202eevil",
    "\ud800",
    '", "level": "error", "x": "',
)


@pytest.fixture(params=["JSON", "text"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """Configure the logs in either format; return what is written."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    written = StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    configure_logs(as_json=request.param == "JSON")
    yield written
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(log: StringIO) -> list[str]:
    """Return the lines as a terminal, a file and `str.splitlines` see them."""
    text = log.getvalue()
    assert text.endswith("\n")
    assert all(c == "\n" or c.isprintable() for c in text), text
    return text.splitlines()


@pytest.mark.parametrize("value", NASTY, ids=ascii)
def test_a_value_stays_in_its_line(log: StringIO, value: str) -> None:
    structlog.get_logger("a").info("client_connected", sid=value, users=[value], by={value: value})
    (line,) = lines(log)
    assert not line.startswith(FORGED)


@pytest.mark.parametrize("value", NASTY, ids=ascii)
def test_the_message_of_a_library_stays_in_its_line(log: StringIO, value: str) -> None:
    logging.getLogger("engineio").warning("Invalid session %s", value)
    (line,) = lines(log)
    assert not line.startswith(FORGED)


@pytest.mark.parametrize("value", NASTY, ids=ascii)
def test_the_message_of_an_exception_starts_no_line(log: StringIO, value: str) -> None:
    try:
        raise ValueError(value)
    except ValueError:
        structlog.get_logger("a").exception("frame_failed", sid=value)
        logging.getLogger("engineio").exception("handler error")
    events = [line for line in lines(log) if not line.startswith("    ")]
    assert len(events) == 2
    assert not any(line.startswith(FORGED) for line in events)


@pytest.mark.parametrize("log", ["JSON"], indirect=True)
def test_in_json_a_value_comes_back_unchanged(log: StringIO) -> None:
    structlog.get_logger("a").info("client_connected", sid="".join(NASTY))
    assert json.loads(log.getvalue())["sid"] == "".join(NASTY)


@pytest.mark.parametrize("text", ["", "plain", "Grüße, 世界 👋", "a b"])
def test_printable_text_is_unchanged(text: str) -> None:
    assert printable(text) == text


def test_unprintable_characters_are_escaped() -> None:
    assert printable("a\nb\x1b[2J\u202e") == "a\\nb\\x1b[2J\\u202e"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("https://a.example/auth/v1", "https://a.example/auth/v1"),
        ("x" * 300, "x" * 200),
        (["a", "b"], "a, b"),
        (["a b", "c"], "text of 3 characters, c"),
        ([], "[]"),
        (["a"] * 9, "a, a, a, a, a"),
        ([["a"]], "list"),
        ({"a": "b"}, "dict"),
        (None, "None"),
        (True, "True"),
        (7, "7"),
        (1.5, "1.5"),
        ("", "text of 0 characters"),
        ("two words", "text of 9 characters"),
        ("a\nline", "text of 6 characters"),
        ("\x1b[2J", "text of 4 characters"),
        ("\u202e", "text of 1 characters"),
    ],
)
def test_what_a_client_chose_is_shown_only_if_it_is_a_word(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize("log", ["JSON"], indirect=True)
def test_a_line_that_nobody_can_read_fails_nothing(log: StringIO) -> None:
    log.close()
    structlog.get_logger("a").warning("client_connected")


@pytest.mark.parametrize("log", ["JSON"], indirect=True)
def test_a_line_says_what_happened_when_and_how_bad_it_is(log: StringIO) -> None:
    structlog.get_logger("a").warning("client_connected", sid="b", odd={1})
    structlog.get_logger("a").debug("unheard")
    line = json.loads(log.getvalue())
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is UTC
    assert line == {"event": "client_connected", "level": "warning", "sid": "b", "odd": "{1}"}


def test_lines_below_the_level_are_not_written(log: StringIO) -> None:
    configure_logs(as_json=True, level="error")
    structlog.get_logger("b").warning("client_connected")
    logging.getLogger("engineio").warning("Invalid session")
    assert log.getvalue() == ""


@pytest.mark.parametrize("log", ["JSON"], indirect=True)
def test_our_lines_pass_the_standard_library_with_the_level_and_the_handlers_of_a_package(
    log: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = logging.getLogger("socket_edge.a_part")
    seen: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        seen.append(record.name)
        return True

    monkeypatch.setattr(package, "level", logging.WARNING)
    monkeypatch.setattr(package, "filters", [note])
    structlog.get_logger("socket_edge.a_part").info("client_connected")
    structlog.get_logger("socket_edge.a_part").warning("page_not_acked")
    assert (seen, log.getvalue().count("\n")) == (["socket_edge.a_part"], 1)
