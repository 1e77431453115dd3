"""The AsyncAPI document: what an edge receives from clients and sends to them."""

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from infra.contract import examples
from infra.contract.schemas import schemas
from infra.contract.structs import Struct
from infra.wire.commands import Auth
from infra.wire.errors import ErrorCode
from infra.wire.events import ErrorAck, ErrorEvent
from infra.wire.registry import (
    CLIENT_COMMANDS,
    COMMON_ERRORS,
    CONNECT_ERRORS,
    SERVER_EVENTS,
    Command,
    ServerEvent,
)

Json = dict[str, Any]

_PYPROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"
_CHANNEL: Final = {"$ref": "#/channels/chat"}
_ABOUT: Final = """\
Direct messages between two people, over Socket.IO (protocol 5) on the default namespace.

An ack answers every client event: the callback of `emit`, or the result of `emitWithAck`. It is one of the
messages in `reply`. If its `success` is false, the event has failed, and the client receives an `error` too.
Clients ignore fields, events and codes that they do not know.
"""
_HOW_TO_CONNECT: Final = """\
Socket.IO over Engine.IO 4, by websocket or long polling.
"""
_ACCESS_TOKEN: Final = """\
The Supabase access token of the user (a JWT), sent as `auth.token` in the CONNECT packet of Socket.IO, not as
an HTTP header. `refresh_token` replaces it before it expires.
"""
_ANY_ACK: Final = "What the client acks with. Its content does not matter, only that it comes."


def asyncapi() -> Json:
    """Return the document."""
    messages = dict(_messages())
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "BB-Gram chat", "version": version(), "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {"edge": _server()},
        "channels": {
            "chat": {
                "address": "/",
                "title": "The default namespace of Socket.IO",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": dict(_operations()),
        "components": {
            "securitySchemes": {"accessToken": _security()},
            "messages": messages,
            "schemas": {**schemas("#/components/schemas/{name}"), "ClientAck": {"description": _ANY_ACK}},
        },
        "x-errors": {
            code: {"retryable": code.retryable, "message": code.default_message} for code in ErrorCode
        },
    }


def version() -> str:
    """Return the version of the project."""
    version = tomllib.loads(_PYPROJECT.read_text())["project"]["version"]
    assert isinstance(version, str)
    return version


def _server() -> Json:
    return {
        "host": "chat.example.com",
        "pathname": "/socket.io/",
        "protocol": "wss",
        "description": _HOW_TO_CONNECT,
        "security": [{"$ref": "#/components/securitySchemes/accessToken"}],
    }


def _security() -> Json:
    return {"type": "apiKey", "in": "password", "description": _ACCESS_TOKEN}


def _messages() -> Iterator[tuple[str, Json]]:
    """Yield each message and its key: the event, after who sends it and whether it is an ack."""
    yield "client.connect", _message("connect", "Connects, and signs in.", Auth, examples.auth())
    yield (
        "server.connect_error",
        _message(
            "connect_error",
            "The connection is refused; the `data` of the error.",
            ErrorEvent,
            examples.refusals(),
        ),
    )
    for command in CLIENT_COMMANDS.values():
        sent, acks = examples.sent()[command.name], examples.acks()[command.name]
        yield f"client.{command.name}", _message(command.name, command.summary, command.payload, sent)
        yield (
            f"server.{command.name}.ack",
            _message("ack", f"`{command.name}` has succeeded.", command.ack, acks),
        )
    yield "server.error.ack", _message("ack", "An event has failed.", ErrorAck, examples.failed())
    for event in SERVER_EVENTS.values():
        received = examples.received()[event.name]
        yield f"server.{event.name}", _message(event.name, event.summary, event.payload, received)
    yield (
        "client.ack",
        {
            "name": "ack",
            "summary": "The client has the event.",
            "payload": {"$ref": "#/components/schemas/ClientAck"},
        },
    )


def _message(name: str, summary: str, struct: Struct, payloads: list[Any]) -> Json:
    return {
        "name": name,
        "summary": summary,
        "payload": {"$ref": f"#/components/schemas/{struct.__name__}"},
        "examples": [{"payload": payload} for payload in payloads],
    }


def _operations() -> Iterator[tuple[str, Json]]:
    """Yield each operation and its key: the event, after who sends it."""
    refusals = ["server.connection_success", "server.connect_error"]
    yield (
        "client.connect",
        {
            **_operation("receive", "client.connect", "Connects, and signs in.", refusals),
            "x-errors": [*CONNECT_ERRORS],
        },
    )
    for command in CLIENT_COMMANDS.values():
        yield f"client.{command.name}", _receive(command)
    for event in SERVER_EVENTS.values():
        yield f"server.{event.name}", _send(event)


def _receive(command: Command) -> Json:
    replies = [f"server.{command.name}.ack", "server.error.ack"]
    operation = _operation("receive", f"client.{command.name}", command.summary, replies)
    return {**operation, "x-errors": [*command.errors, *COMMON_ERRORS]}


def _send(event: ServerEvent) -> Json:
    replies = ["client.ack"] if event.asks_for_ack else []
    return _operation("send", f"server.{event.name}", event.summary, replies)


def _operation(action: str, message: str, summary: str, replies: Iterable[str]) -> Json:
    operation = {
        "action": action,
        "channel": _CHANNEL,
        "summary": summary,
        "messages": [_in_channel(message)],
    }
    if replies:
        operation["reply"] = {"channel": _CHANNEL, "messages": [_in_channel(reply) for reply in replies]}
    return operation


def _in_channel(message: str) -> Json:
    return {"$ref": f"#/channels/chat/messages/{message}"}
