"""docs/events.md names the errors of each event, and the events that ask for an ack, as the registry does."""

import re

import pytest

from infra.wire.errors import ErrorCode
from infra.wire.registry import CLIENT_COMMANDS, COMMON_ERRORS, CONNECT_ERRORS, SERVER_EVENTS, Command
from tests.contract.event_page import cells_of, part


def codes(text: str) -> set[ErrorCode]:
    return {ErrorCode(name) for name in re.findall(r"`(\w+)`", text)}


@pytest.mark.parametrize("command", CLIENT_COMMANDS.values(), ids=lambda command: command.name)
def test_the_errors_of_a_client_event_are_those_of_the_registry(command: Command) -> None:
    (line,) = re.findall(r"\bErrors: (.*)", part("Client to server", command.name))
    # The lines repeat some codes of every request, where they need a thought.
    assert codes(line) - {*COMMON_ERRORS} == {*command.errors}


def test_the_errors_of_every_request_are_those_of_the_registry() -> None:
    (line,) = re.findall(r"Every request can fail with (.*)", part("Error codes"))
    assert codes(line) == {*COMMON_ERRORS}


def test_the_errors_of_a_connection_are_those_of_the_registry() -> None:
    (line,) = re.findall(r"The `code` is one of (.*?)\. ", part("Connecting"))
    assert codes(line) == {*CONNECT_ERRORS}


def test_the_table_of_codes_says_which_are_retryable() -> None:
    cells = [cells_of(line) for line in part("Error codes").splitlines() if line.startswith("| `")]
    found = {ErrorCode(row[at].strip("`")): row[at + 1] for row in cells for at in (0, 3) if row[at]}
    assert {code: word.startswith("yes") for code, word in found.items()} == {
        code: code.retryable for code in ErrorCode
    }


def test_the_page_says_which_server_events_ask_for_an_ack() -> None:
    (line,) = re.findall(r"\*\*Acks from the client\.\*\* (.*?) ask for an ack", part("Acks"))
    asking = {name for name, event in SERVER_EVENTS.items() if event.asks_for_ack}
    assert {*re.findall(r"`(\w+)`", line)} == asking
