"""The tables and examples of docs/events.md show exactly the fields that are on the wire."""

import re
from datetime import datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

import msgspec
import pytest

from infra.wire import events
from infra.wire.errors import ErrorCode
from infra.wire.registry import CLIENT_COMMANDS, SERVER_EVENTS, Command, ServerEvent
from tests.contract.event_page import Row, examples, part, table
from tests.contract.event_tables import PAGE, with_tables

Struct = type[msgspec.Struct]

JSON_TYPES = {
    NoneType: "null",
    str: "string",
    UUID: "string",
    datetime: "string",
    ErrorCode: "string",
    int: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


def fields(struct: Struct) -> dict[str, msgspec.structs.FieldInfo]:
    """Return the fields by their names on the wire, without the `success` of acks."""
    named = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    return {name: field for name, field in named.items() if name != "success"}


def json_types(annotation: Any) -> set[str]:
    """Return the types of JSON that a field may have."""
    if get_origin(annotation) in {Union, UnionType}:
        return {kind for one in get_args(annotation) for kind in json_types(one)}
    if get_origin(annotation) is Annotated:
        kind, *notes = get_args(annotation)
        return {"object", "null"} if kind is msgspec.Raw and "null" in repr(notes) else json_types(kind)
    if get_origin(annotation) is Literal:
        return {"string"}
    if annotation is msgspec.UnsetType:
        return set()
    return {JSON_TYPES.get(get_origin(annotation) or annotation, "object")}


def assert_types(rows: list[Row], struct: Struct) -> None:
    """Assert that a table names the types of JSON of each field."""
    for row in rows:
        for name in row.names:
            field = fields(struct)[name]
            # In a payload, null means the same as no value, unless the field has a meaning for it.
            kinds = json_types(field.type) - ({"null"} if field.default is None else set())
            named = set(re.findall(r"string|number|boolean|array|object|null", row.cells[0]))
            assert named == kinds, name


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
    assert_types(rows, struct)


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
    if not fields(command.payload):
        assert rows is None
        return
    assert rows is not None, "there is no table of fields"
    assert sorted(name for row in rows for name in row.names) == sorted(fields(command.payload))
    for row in rows:
        for name in row.names:
            assert (row.cells[1] == "yes") == fields(command.payload)[name].required, name
        assert (row.cells[1] == "one of them") == (len(row.names) > 1), row.names
    assert_types(rows, command.payload)


@pytest.mark.parametrize("command", CLIENT_COMMANDS.values(), ids=lambda command: command.name)
def test_an_ack_is_described_with_exactly_its_fields(command: Command) -> None:
    text = part("Client to server", command.name)
    if (rows := table(text, "field", "type", "meaning")) is not None:
        assert_shows(rows, command.ack)
    for name in fields(command.ack):
        assert f"`{name}`" in text or f'"{name}"' in text, name
    for what, name in (("chat", "chats"), ("user", "users")):
        if (rows := table(text, f"field of a {what}")) is not None:
            assert_shows(rows, element(command.ack, name))


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


def test_the_examples_of_a_message_show_all_its_fields() -> None:
    shown: set[str] = set()
    for example in examples(part("The message")):
        assert_is(example, events.Message)
        shown |= msgspec.json.decode(example, type=dict[str, Any]).keys()
    assert shown == fields(events.Message).keys()


@pytest.mark.parametrize("code", ErrorCode)
def test_the_example_of_an_error_is_what_clients_receive(code: ErrorCode) -> None:
    for example in examples(part("Error codes", code)):
        assert_is(example, events.ErrorEvent)
        error = msgspec.json.decode(example, type=events.ErrorEvent)
        assert (error.code, error.retryable) == (code, code.retryable)
