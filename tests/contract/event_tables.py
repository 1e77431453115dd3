"""The overviews of docs/events.md, from the registry: `make tables` writes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from infra.wire.events import Message
from infra.wire.registry import CLIENT_COMMANDS, SERVER_EVENTS, Command, ServerEvent
from tests.contract.generated import with_lines

PAGE: Final = Path(__file__).parents[2] / "docs" / "events.md"


def with_tables(page: str) -> str:
    """Return the page with today's overviews between their markers. Raises ValueError without markers."""
    page = with_lines(page, "client events", _client_events())
    return with_lines(page, "server events", _server_events())


def _client_events() -> Iterator[str]:
    yield "| event | what it does | payload | ack, besides `success` |"
    yield "| --- | --- | --- | --- |"
    for command in CLIENT_COMMANDS.values():
        payload, ack = _fields(command.payload), _fields(command.ack) or "none"
        yield f"| {_link(command)} | {command.summary} | {payload} | {ack} |"


def _server_events() -> Iterator[str]:
    yield "| event | what it says | payload |"
    yield "| --- | --- | --- |"
    for event in SERVER_EVENTS.values():
        payload = "[the message](#the-message)" if event.payload is Message else _fields(event.payload)
        yield f"| {_link(event)} | {event.summary} | {payload} |"


def _link(event: Command | ServerEvent) -> str:
    is_second = isinstance(event, ServerEvent) and event.name in CLIENT_COMMANDS
    return f"[`{event.name}`](#{event.name}{'-1' if is_second else ''})"


def _fields(struct: type[msgspec.Struct]) -> str:
    """Return the names on the wire; a question mark follows those of optional fields."""
    fields = [field for field in msgspec.structs.fields(struct) if field.encode_name != "success"]
    return ", ".join(f"`{field.encode_name}`{'' if field.required else '?'}" for field in fields)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
