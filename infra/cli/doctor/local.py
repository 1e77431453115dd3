"""Checks what only the local stack has: its folder and its port."""

import os
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from infra.cli.doctor.finding import Finding
from infra.cli.local import stack_port
from infra.local.folder import is_owned
from infra.local.parts import http_ok
from infra.local.ports import another_port, is_free
from infra.settings.base import data_dir, variable

_SERVICES: Final = {
    "redis": variable("redis_url"),
    "postgres": variable("database_url"),
    "sign-in": variable("supabase_url"),
    "workers": variable("redis_url"),
    "functions": variable("redis_url"),
    "beat": variable("redis_url"),
    "channels": variable("device_channels"),
}
"""What the doctor calls each part of a stack, and the setting that says where it is."""


def stack_finding() -> Finding:
    """Name the folder of the stack, and tell whether it runs."""
    runs = "runs" if is_owned(data_dir()) else "does not run"
    return Finding("stack", f"missing settings come from the local stack in {data_dir()}, which {runs}")


def port_finding() -> Finding:
    """Check that the port is free, or held by an edge. Raises SettingsError for a wrong PORT."""
    port, host = stack_port(), os.environ.get(variable("host")) or "localhost"
    if is_free(port, host):
        return Finding("port", f"{port} is free")
    if http_ok(port, "/healthz", host)():
        return Finding("port", f"{port} is in use by an edge")
    advice = f"stop it, or set PORT={another_port(port, host)}"
    return Finding("port", f"{port} is in use by something else", advice)


def for_local_stack(found: Finding, filled: Collection[str]) -> Finding:
    """Return the finding with advice for a local stack, which supplied the settings `filled`."""
    name = _SERVICES.get(found.subject)
    if found.advice is None or name not in filled:
        return found
    if found.subject == "channels" and found.advice.startswith("configure"):
        # Here any device may register; what cannot be sent is only logged.
        return replace(found, advice=None)
    if is_owned(data_dir()):
        return found
    starts = found.advice.startswith("start ")
    return replace(found, advice="start the local stack: `make run`") if starts else found
