"""The published JSON Schemas, as a validator outside the project reads them."""

import json
from typing import Any, Final

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from infra.contract.files import SCHEMAS
from infra.wire import events
from infra.wire.commands import Auth
from infra.wire.registry import CLIENT_COMMANDS, SERVER_EVENTS
from tests.contract.golden import load

_DOCUMENTS: Final[dict[str, Any]] = {
    path.name: json.loads(path.read_text()) for path in sorted(SCHEMAS.glob("*.json"))
}


def validator(name: str, *, is_closed: bool = False) -> Draft202012Validator:
    """Return the validator of a struct, by its name; one that is closed knows no other fields."""
    documents = {
        file: {**schema, "additionalProperties": False} if is_closed and "properties" in schema else schema
        for file, schema in _DOCUMENTS.items()
    }
    registry: Registry[Any] = Registry().with_resources(
        (file, Resource.from_contents(schema)) for file, schema in documents.items()
    )
    return Draft202012Validator(
        {"$ref": f"{name}.json"},
        registry=registry,
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def golden() -> list[tuple[str, Any]]:
    """Return everything in the golden files that clients send and receive, each with its struct's name."""
    commands, acks, received, connecting = map(load, ("commands", "acks", "server_events", "connecting"))
    return [
        *((Auth.__name__, payload) for payload in connecting["auth"]),
        *((events.ErrorEvent.__name__, payload) for payload in connecting["connect_error"]),
        *((one.payload.__name__, item) for one in CLIENT_COMMANDS.values() for item in commands[one.name]),
        *((one.payload.__name__, item) for one in SERVER_EVENTS.values() for item in received[one.name]),
        *((command.ack.__name__, acks[command.name]) for command in CLIENT_COMMANDS.values()),
        *((events.ErrorAck.__name__, ack) for name, ack in acks.items() if name not in CLIENT_COMMANDS),
    ]
