"""The OpenAPI document: what the app's own backend asks of an edge."""

import re
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import msgspec

from infra.contract.asyncapi import version
from infra.contract.schemas import schemas
from infra.contract.structs import Struct
from infra.wire.errors import ErrorCode
from infra.wire.server_api import (
    CALLS,
    COMMON_ERRORS,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_KEY_CHARS,
    PATH_FIELDS,
    STATUS,
    Call,
    Problem,
)

Json = dict[str, Any]

_ABOUT: Final = """\
What the app's own backend asks of the chat, over HTTP. docs/server-api.md explains it.

A call succeeds only once what it says is committed. Ignore fields and codes that you do not know.
"""
_SECURITY: Final = "An API key, which `bbgram api-key create` makes."
_REPEATS: Final = "Makes the call safe to repeat: with the same key, it stores nothing twice."
_FIELD: Final = re.compile(r"\{(\w+)\}")


def openapi() -> Json:
    """Return the document."""
    paths: dict[str, Json] = defaultdict(dict)
    for call in CALLS.values():
        paths[call.path][call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "BB-Gram chat: server API", "version": version(), "description": _ABOUT},
        "servers": [{"url": "https://chat.example.com"}],
        "security": [{"apiKey": []}],
        "paths": dict(paths),
        "components": {
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "description": _SECURITY}},
            "schemas": schemas("#/components/schemas/{name}", _structs()),
        },
    }


def _structs() -> tuple[Struct, ...]:
    held = (struct for call in CALLS.values() for struct in (*call.bodies, *(one for _, one in call.answers)))
    return tuple(dict.fromkeys((*held, Problem)))


def _operation(call: Call) -> Json:
    operation = {
        "operationId": call.name,
        "summary": call.summary,
        "description": f"Needs a key with the scope `{call.scope}`.",
        "parameters": [*_parameters(call)],
        "responses": {str(int(status)): content for status, content in _responses(call)},
    }
    if call.bodies:
        operation["requestBody"] = {"required": True, "content": _content("application/json", *call.bodies)}
    return operation


def _parameters(call: Call) -> Iterator[Json]:
    for name in _FIELD.findall(call.path):
        yield {"name": name, "in": "path", "required": True, "schema": msgspec.json.schema(PATH_FIELDS[name])}
    if call.query is not None:
        schema = schemas("{name}", (call.query,))[call.query.__name__]
        for name, field in schema["properties"].items():
            description = {"description": field.pop("description")}
            required = {"required": True} if name in schema["required"] else {}
            yield {"name": name, "in": "query", **description, **required, "schema": field}
    if not call.is_repeatable:
        pattern = f"^[!-~]{{1,{IDEMPOTENCY_KEY_CHARS}}}$"
        schema = {"type": "string", "pattern": pattern}
        yield {"name": IDEMPOTENCY_KEY, "in": "header", "description": _REPEATS, "schema": schema}


def _responses(call: Call) -> Iterator[tuple[HTTPStatus, Json]]:
    for status, struct in call.answers:
        yield status, {"description": status.phrase, "content": _content("application/json", struct)}
    by_status: dict[HTTPStatus, list[ErrorCode]] = defaultdict(list)
    for code in dict.fromkeys((*call.errors, *COMMON_ERRORS)):
        by_status[STATUS[code]].append(code)
    for status, codes in sorted(by_status.items()):
        yield (
            status,
            {
                "description": ", ".join(codes),
                "content": _content("application/problem+json", Problem),
                "x-errors": codes,
            },
        )


def _content(media_type: str, *structs: Struct) -> Json:
    refs = [{"$ref": f"#/components/schemas/{struct.__name__}"} for struct in structs]
    return {media_type: {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}}
