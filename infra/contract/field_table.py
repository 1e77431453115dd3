"""The fields of a JSON Schema as a table of Markdown."""

import json
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]


def field_table(schema: Schema) -> Iterator[str]:
    """Yield the lines of a table with a row for each field."""
    yield "| field | type | required | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in schema["properties"].items():
        required = "yes" if name in schema["required"] else "no"
        yield f"| `{name}` | {_type(field)} | {required} | {field.get('description', '')} |"


def _type(field: Schema) -> str:
    match field:
        case {"$ref": str(reference)}:
            name = reference.removesuffix(".json")
            return f"[{name}](#{name.lower()})"
        case {"const": value}:
            return f"`{json.dumps(value)}`"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"anyOf": kinds}:
            return " or ".join(_type(kind) for kind in kinds)
        case {"type": "array", "items": items}:
            return f"array of {_type(items)}"
        case {"type": "object", "additionalProperties": values}:
            return f"object of {_type(values)}"
        case {"type": [*kinds]}:
            return " or ".join(kinds)
        case {"type": str(kind)}:
            limits = ", ".join(_limits(field))
            return f"{kind} ({limits})" if limits else kind
    raise TypeError(f"there is no text for {field}")


def _limits(field: Schema) -> Iterator[str]:
    match field:
        case {"format": "uuid"}:
            yield "UUID"
        case {"format": "date-time"}:
            yield "ISO 8601"
        case {"minLength": least, "maxLength": most}:
            yield f"{least} to {most:,} characters"
        case {"minLength": 1}:
            yield "not empty"
        case {"maxLength": most}:
            yield f"at most {most:,} characters"
        case {"minimum": least}:
            yield f"from {least}"
