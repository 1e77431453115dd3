"""The structs that clients send and receive, and what their docstrings say."""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any, Final, get_args

import msgspec

from infra.wire import events
from infra.wire.commands import Auth
from infra.wire.registry import CLIENT_COMMANDS, SERVER_EVENTS

Struct = type[msgspec.Struct]

SENT: Final[tuple[Struct, ...]] = (Auth, *(command.payload for command in CLIENT_COMMANDS.values()))
"""What clients send."""
RECEIVED: Final[tuple[Struct, ...]] = tuple(
    dict.fromkeys(
        [
            *(event.payload for event in SERVER_EVENTS.values()),
            *(command.ack for command in CLIENT_COMMANDS.values()),
            events.ErrorAck,
        ]
    )
)
"""What clients receive, as events and as acks."""
ERROR_CODES: Final = "Stable codes of failed requests and refused connections."


def with_parts(structs: tuple[Struct, ...]) -> list[Struct]:
    """Return the structs, each followed by those that its fields hold, without repetition."""
    return list(dict.fromkeys(part for struct in structs for part in _parts(struct)))


@cache
def _parts(struct: Struct) -> tuple[Struct, ...]:
    held = [one for field in msgspec.structs.fields(struct) for one in _structs_in(field.type)]
    return (struct, *(part for one in held for part in _parts(one)))


def _structs_in(annotation: Any) -> Iterator[Struct]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation
    for argument in get_args(annotation):
        yield from _structs_in(argument)


def description(struct: Struct) -> str:
    """Return the docstring, with the names of fields as they are on the wire."""
    return _on_the_wire(inspect.getdoc(struct) or "", struct)


def field_descriptions(struct: Struct) -> dict[str, str]:
    """Return the docstrings of the fields that have one, by their names on the wire."""
    module = inspect.getmodule(struct)
    assert module is not None
    written = _field_docstrings(module).get(struct.__name__, {})
    return {
        field.encode_name: _on_the_wire(written[field.name], struct)
        for field in msgspec.structs.fields(struct)
        if field.name in written
    }


@cache
def _field_docstrings(module: ModuleType) -> dict[str, dict[str, str]]:
    classes = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_documented(node)) for node in classes}


def _documented(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield the fields of a class that a string follows."""
    for field, after in pairwise(node.body):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)


def _on_the_wire(text: str, struct: Struct) -> str:
    names = {field.name: field.encode_name for field in msgspec.structs.fields(struct)}
    return re.sub(r"`(\w+)`", lambda match: f"`{names.get(match[1], match[1])}`", text)
