"""docs/events.md has a heading for everything that clients can send, receive or be refused with."""

import re
from pathlib import Path

import pytest

from infra.wire import events
from infra.wire.commands import INTERNAL, REFRESH_TOKEN, RELAYED
from infra.wire.errors import ErrorCode

PAGE = Path(__file__).parents[2] / "docs" / "events.md"
_HEADING = re.compile(r"^### `(\w+)`$")
SERVER_EVENTS = [value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)]


def sections() -> dict[str, list[str]]:
    """Return the names with a heading of their own, by the section that they stand in."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif match := _HEADING.match(line):
            found.setdefault(section, []).append(match[1])
    return found


@pytest.mark.parametrize("name", [*RELAYED, REFRESH_TOKEN])
def test_every_client_event_has_a_heading(name: str) -> None:
    assert name in sections().get("Client to server", []), f"docs/events.md lacks a heading for `{name}`"


@pytest.mark.parametrize("name", SERVER_EVENTS)
def test_every_server_event_has_a_heading(name: str) -> None:
    assert name in sections().get("Server to client", []), f"docs/events.md lacks a heading for `{name}`"


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_has_a_heading(code: ErrorCode) -> None:
    assert code in sections().get("Error codes", []), f"docs/events.md lacks a heading for `{code}`"


def test_nothing_is_documented_that_does_not_exist() -> None:
    documented = {name for names in sections().values() for name in names}
    assert documented <= {*RELAYED, REFRESH_TOKEN, *SERVER_EVENTS, *ErrorCode}


@pytest.mark.parametrize("name", INTERNAL)
def test_what_only_edges_send_is_no_business_of_clients(name: str) -> None:
    assert name not in {name for names in sections().values() for name in names}
