"""`stack.env`: the settings of the local stack, for commands that are told to use it (`--local`)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

NAME: Final = "stack.env"


def write_stack_env(folder: Path, values: Mapping[str, str]) -> None:
    """Replace the file atomically; only its owner can read it."""
    fresh = folder / f"{NAME}.new"
    fresh.touch(mode=0o600)
    fresh.write_text("".join(f"{name}={_quoted(value)}\n" for name, value in values.items()))
    os.replace(fresh, folder / NAME)


def read_stack_env(folder: Path) -> dict[str, str]:
    """Return what the latest start wrote; empty if there was none."""
    file = folder / NAME
    return {name: value for name, value in dotenv_values(file).items() if value} if file.exists() else {}


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
