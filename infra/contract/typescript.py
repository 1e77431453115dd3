"""The types of the TypeScript client: structs, error codes, and events as Socket.IO types them."""

import json
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import inspect

from infra.contract.structs import (
    ERROR_CODES,
    RECEIVED,
    SENT,
    Struct,
    description,
    field_descriptions,
    with_parts,
)
from infra.wire.errors import ErrorCode
from infra.wire.registry import BACKEND_ERRORS, CLIENT_COMMANDS, SERVER_EVENTS, Command, ServerEvent

_HEAD: Final = """\
// Written by `make contract` from infra/wire. Do not edit.
// docs/events.md explains the events, docs/contract/ has the same contract as AsyncAPI and JSON Schema.
"""


def typescript() -> str:
    """Return the module."""
    structs = with_parts((*SENT, *RECEIVED))
    parts = [
        _HEAD,
        *_error_codes(),
        *("".join(_interface(struct)) for struct in structs),
        "".join(_client_events()),
        "".join(_server_events()),
        _HELPERS,
    ]
    return "\n".join(parts)


_HELPERS: Final = """\
/** What a client event is sent with. */
export type Payload<E extends keyof ClientToServerEvents> = Parameters<ClientToServerEvents[E]>[0];

/** What a client event is answered with, unless it fails. */
export type Ack<E extends keyof ClientToServerEvents> = Exclude<
  Parameters<NonNullable<Parameters<ClientToServerEvents[E]>[1]>>[0],
  ErrorAck
>;
"""


def _error_codes() -> Iterator[str]:
    codes = [code for code in ErrorCode if code not in BACKEND_ERRORS]
    names = "".join(f"\n  | '{code}'" for code in codes)
    yield f"{_comment(ERROR_CODES)}export type ErrorCode ={names};\n"
    rows = "".join(f"  {code}: {_json(code.retryable)},\n" for code in codes)
    yield (
        "/** Whether the same request may succeed later. */\n"
        f"export const retryable: Readonly<Record<ErrorCode, boolean>> = {{\n{rows}}};\n"
    )


def _interface(struct: Struct) -> Iterator[str]:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    docs = field_descriptions(struct)
    yield _comment(description(struct))
    yield f"export interface {struct.__name__} {{\n"
    for field in info.fields:
        yield _comment(docs.get(field.encode_name, ""), "  ")
        yield f"  {field.encode_name}{_optional(struct, field)}: {_field_type(field)};\n"
    yield "}\n"


def _optional(struct: Struct, field: inspect.Field) -> str:
    """Return a question mark if the field may be missing. Servers leave out only what is unset."""
    is_always_sent = struct in with_parts(RECEIVED) and field.default is not msgspec.NODEFAULT
    return "" if field.required or is_always_sent else "?"


def _field_type(field: inspect.Field) -> str:
    return _json(field.default) if field.encode_name == "success" else _type(field.type)


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.StrType() | inspect.UUIDType() | inspect.DateTimeType():
            return "string"
        case inspect.IntType() | inspect.FloatType():
            return "number"
        case inspect.BoolType():
            return "boolean"
        case inspect.NoneType():
            return "null"
        case inspect.LiteralType(values=values):
            return " | ".join(f"'{value}'" for value in values)
        case inspect.EnumType(cls=cls) | inspect.StructType(cls=cls):
            return cls.__name__
        case inspect.Metadata(type=inspect.RawType(), extra_json_schema={"type": ["object", "null"]}):
            return "Record<string, unknown> | null"
        case inspect.Metadata(type=inspect.RawType()):
            return "Record<string, unknown>"
        case inspect.Metadata(type=described):
            return _type(described)
        case inspect.UnionType(types=types):
            return " | ".join(_type(one) for one in types)
        case inspect.ListType(item_type=item):
            return f"{_type(item)}[]" if " | " not in _type(item) else f"({_type(item)})[]"
        case inspect.DictType(key_type=key, value_type=value):
            return f"Record<{_type(key)}, {_type(value)}>"
    raise TypeError(f"there is no TypeScript for {kind}")


def _client_events() -> Iterator[str]:
    yield _comment("What clients send: Socket.IO's typed events.")
    yield "export interface ClientToServerEvents {\n"
    for command in CLIENT_COMMANDS.values():
        yield _comment(command.summary, "  ")
        yield f"  {command.name}: ({_command(command)}) => void;\n"
    yield "}\n"


def _command(command: Command) -> str:
    ack = "ack?" if command.is_ephemeral else "ack"
    return f"payload: {command.payload.__name__}, {ack}: (answer: {command.ack.__name__} | ErrorAck) => void"


def _server_events() -> Iterator[str]:
    yield _comment("What clients receive: Socket.IO's typed events. Call `ack` where there is one.")
    yield "export interface ServerToClientEvents {\n"
    for event in SERVER_EVENTS.values():
        yield _comment(event.summary, "  ")
        yield f"  {event.name}: ({_event(event)}) => void;\n"
    yield "}\n"


def _event(event: ServerEvent) -> str:
    ack = ", ack: (answer?: unknown) => void" if event.asks_for_ack else ""
    return f"payload: {event.payload.__name__}{ack}"


def _comment(text: str, indent: str = "") -> str:
    if not text:
        return ""
    if "\n" not in text:
        return f"{indent}/** {text} */\n"
    lines = "".join(f"{indent} * {line}".rstrip() + "\n" for line in text.splitlines())
    return f"{indent}/**\n{lines}{indent} */\n"


def _json(value: object) -> str:
    return json.dumps(value)
