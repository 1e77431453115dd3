"""JSON Schemas of everything that clients send and receive."""

from typing import Any, Final

import msgspec

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

ERROR_CODE: Final = ErrorCode.__name__
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schemas(ref_template: str, wanted: tuple[Struct, ...] = (*SENT, *RECEIVED)) -> dict[str, dict[str, Any]]:
    """Return the schema of each struct and its parts, and of the error codes, by name."""
    structs = with_parts(wanted)
    _, found = msgspec.json.schema_components(structs, ref_template=ref_template)
    named = {struct.__name__: _struct(struct, found[struct.__name__]) for struct in structs}
    return {**named, ERROR_CODE: _error_code()}


def _struct(struct: Struct, schema: dict[str, Any]) -> dict[str, Any]:
    """Add what the docstrings say, and that servers leave out only what is unset."""
    texts = field_descriptions(struct)
    properties = {
        name: {**({"description": texts[name]} if name in texts else {}), **_without_null(field)}
        for name, field in schema["properties"].items()
    }
    required = schema["required"]
    if struct in with_parts(RECEIVED) and "success" in properties:
        properties["success"] = {"const": properties["success"]["default"]}
        required = [*required, "success"]
    return {
        "title": struct.__name__,
        "description": description(struct),
        "type": "object",
        "properties": properties,
        "required": required,
    }


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """Leave out that null is the default: it means the same as no value."""
    return {key: value for key, value in field.items() if (key, value) != ("default", None)}


def _error_code() -> dict[str, Any]:
    return {
        "title": ERROR_CODE,
        "description": ERROR_CODES,
        "type": "string",
        "enum": [str(code) for code in ErrorCode],
    }
