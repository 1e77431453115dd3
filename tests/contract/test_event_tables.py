"""The tables and examples of docs/events.md show exactly the fields that are on the wire."""

import re
from collections.abc import Iterator
from types import NoneType
from typing import Any, NamedTuple, get_args

import msgspec
import pytest

from infra.wire import events
from infra.wire.errors import ErrorCode
from infra.wire.registry import CLIENT_COMMANDS, SERVER_EVENTS, Command, ServerEvent
from tests.contract.event_tables import PAGE, with_tables

Struct = type[msgspec.Struct]


class Row(NamedTuple):
    """A row of a table of fields."""

    names: list[str]
    """Fields that share a row."""
    cells: list[str]


def part(section: str, heading: str = "") -> str:
    """Return the text under a heading of the page, in a section of it."""
    text = PAGE.read_text()
    for found in (f"\n## {section}\n", *([f"\n### `{heading}`\n"] if heading else [])):
        _, has_it, text = text.partition(found)
        assert has_it, f"docs/events.md lacks {found.strip()!r}"
    return re.split(r"\n##" if heading else r"\n## ", text)[0]


def table(text: str, *header: str) -> list[Row] | None:
    """Return the rows of the first table whose header starts with these cells; None if there is none."""
    lines = iter(text.splitlines())
    for line in lines:
        if cells_of(line)[: len(header)] == list(header) and next(lines, "").startswith("| ---"):
            return list(rows_of(lines))
    return None


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []


def rows_of(lines: Iterator[str]) -> Iterator[Row]:
    for line in lines:
        if not line.startswith("|"):
            return
        name, *cells = cells_of(line)
        yield Row(re.findall(r"`(\w+)`", name), cells)


def examples(text: str) -> list[str]:
    """Return the JSON examples; a message stands where they abbreviate one."""
    first, *_ = re.findall(r"```json\n(.*?)```", part("The message"), re.DOTALL)
    return [example.replace("{...}", first) for example in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


def fields(struct: Struct) -> dict[str, msgspec.structs.FieldInfo]:
    """Return the fields by their names on the wire, without the `success` of acks."""
    named = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    return {name: field for name, field in named.items() if name != "success"}


def element(struct: Struct, name: str) -> Struct:
    """Return what the list in a field holds."""
    (held,) = get_args(fields(struct)[name].type)
    assert isinstance(held, type)
    return held


def assert_shows(rows: list[Row], struct: Struct) -> None:
    """Assert that a table names each field once, and says what may be missing or null."""
    names = [name for row in rows for name in row.names]
    assert sorted(names) == sorted(fields(struct))
    for row in rows:
        for name in row.names:
            kinds = get_args(fields(struct)[name].type)
            assert ("optional" in row.cells[0]) == (msgspec.UnsetType in kinds), name
            assert ("null" in row.cells[0]) == (NoneType in kinds), name


def assert_is(example: str, struct: Struct) -> None:
    """Assert that an example can be decoded, and has no other fields."""
    msgspec.json.decode(example, type=struct, strict=True)
    keys: set[str] = set(msgspec.json.decode(example, type=dict[str, Any]))
    assert keys - {"success"} <= fields(struct).keys()
    assert ("success" in keys) == any(field.name == "success" for field in msgspec.structs.fields(struct))


def test_the_overviews_are_those_of_the_registry() -> None:
    page = PAGE.read_text()
    assert page == with_tables(page), "run `make tables`"


@pytest.mark.parametrize("command", CLIENT_COMMANDS.values(), ids=lambda command: command.name)
def test_a_client_event_is_described_with_exactly_its_fields(command: Command) -> None:
    rows = table(part("Client to server", command.name), "field", "type", "required")
    assert rows is not None, "there is no table of fields"
    assert sorted(name for row in rows for name in row.names) == sorted(fields(command.payload))
    for row in rows:
        for name in row.names:
            assert (row.cells[1] == "yes") == fields(command.payload)[name].required, name


@pytest.mark.parametrize("command", CLIENT_COMMANDS.values(), ids=lambda command: command.name)
def test_an_ack_is_described_with_exactly_its_fields(command: Command) -> None:
    text = part("Client to server", command.name)
    if (rows := table(text, "field", "type", "meaning")) is not None:
        assert_shows(rows, command.ack)
    if (rows := table(text, "field of a chat")) is not None:
        assert_shows(rows, element(command.ack, "chats"))


@pytest.mark.parametrize("command", CLIENT_COMMANDS.values(), ids=lambda command: command.name)
def test_the_examples_of_a_client_event_are_valid(command: Command) -> None:
    request, *acks = examples(part("Client to server", command.name))
    assert_is(request, command.payload)
    for ack in acks:
        assert_is(ack, command.ack)


@pytest.mark.parametrize("event", SERVER_EVENTS.values(), ids=lambda event: event.name)
def test_a_server_event_is_described_with_exactly_its_fields(event: ServerEvent) -> None:
    text = part("Server to client", event.name)
    rows = table(text, "field")
    if event.payload is events.Message:
        assert "[the message](#the-message)" in text
    else:
        assert rows is not None, "there is no table of fields"
        assert_shows(rows, event.payload)


@pytest.mark.parametrize("event", SERVER_EVENTS.values(), ids=lambda event: event.name)
def test_the_example_of_a_server_event_is_valid(event: ServerEvent) -> None:
    (example,) = examples(part("Server to client", event.name))
    if event.payload is events.Message:
        assert (
            msgspec.json.decode(example, type=dict[str, Any]).keys() - {"..."}
            <= fields(events.Message).keys()
        )
    else:
        assert_is(example, event.payload)


@pytest.mark.parametrize(("section", "struct"), [("The message", events.Message), ("The peer", events.Peer)])
def test_what_payloads_share_is_described_with_exactly_its_fields(section: str, struct: Struct) -> None:
    rows = table(part(section), "field")
    assert rows is not None
    assert_shows(rows, struct)


@pytest.mark.parametrize("code", ErrorCode)
def test_the_example_of_an_error_is_what_clients_receive(code: ErrorCode) -> None:
    for example in examples(part("Error codes", code)):
        assert_is(example, events.ErrorEvent)
        error = msgspec.json.decode(example, type=events.ErrorEvent)
        assert (error.code, error.retryable) == (code, code.retryable)
