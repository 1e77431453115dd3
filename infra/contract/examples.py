"""The examples of the contract: the golden files, which the tests of edges and workers load too."""

import json
from pathlib import Path
from typing import Any, Final

from infra.wire.registry import CLIENT_COMMANDS, SERVER_EVENTS

_FOLDER: Final = Path(__file__).parents[2] / "tests" / "contract" / "golden"


def sent() -> dict[str, list[Any]]:
    """Return the payloads of client events, by event."""
    golden = _load("commands")
    return {name: golden[name] for name in CLIENT_COMMANDS}


def received() -> dict[str, list[Any]]:
    """Return the payloads of server events, by event."""
    golden = _load("server_events")
    return {name: golden[name] for name in SERVER_EVENTS}


def acks() -> dict[str, list[Any]]:
    """Return the acks of client events that succeed, by event."""
    golden = _load("acks")
    return {name: [golden[name]] for name in CLIENT_COMMANDS}


def failed() -> list[Any]:
    """Return acks of client events that fail."""
    golden = _load("acks")
    return [ack for name, ack in golden.items() if name not in CLIENT_COMMANDS]


def auth() -> list[Any]:
    """Return what clients connect with."""
    return _load("connecting")["auth"]  # type: ignore[no-any-return]


def refusals() -> list[Any]:
    """Return the `data` of refused connections."""
    return _load("connecting")["connect_error"]  # type: ignore[no-any-return]


def _load(name: str) -> Any:
    return json.loads((_FOLDER / f"{name}.json").read_text())
