"""The golden files that edge and worker tests both load: everything that travels, spelled out."""

import json
from pathlib import Path
from typing import Any

import msgspec

_FOLDER = Path(__file__).with_name("golden")

ALICE = "0190d3a0-0000-7000-8000-00000000000a"
BOB = "0190d3a0-0000-7000-8000-00000000000b"
CHAT = "0190d3a0-0000-7000-8000-0000000000cc"
EVENT_ID = "0190d3a2-0000-7000-8000-00000000000"
"""All but the last digit."""
BATCH_ID = "0190d3a2000070008000000000000001"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def load(name: str) -> Any:
    """Return the content of a golden file."""
    return json.loads((_FOLDER / f"{name}.json").read_text())


def encoded(value: object) -> bytes:
    """Return a part of a golden file as it travels."""
    return msgspec.json.encode(value)


def on_the_wire(struct: object) -> Any:
    """Return what a reader sees of a struct of ours."""
    return json.loads(msgspec.json.encode(struct))


def with_unknown_fields(value: Any) -> Any:
    """Return golden data as a newer version might send it: every object has one field more.

    Payloads (`data`) stay as they are: between edge and worker they are opaque.
    """
    if isinstance(value, dict):
        known = {key: item if key == "data" else with_unknown_fields(item) for key, item in value.items()}
        return {**known, "from_the_future": {"a": [1]}}
    return [with_unknown_fields(item) for item in value] if isinstance(value, list) else value
