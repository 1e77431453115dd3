"""Checks what only the local stack has: its folder and its port."""

from infra.cli.doctor.finding import Finding
from infra.cli.local import stack_port
from infra.local.parts import http_ok
from infra.local.ports import is_free
from infra.settings.base import data_dir


def stack_finding() -> Finding:
    """Name the folder of the stack."""
    return Finding("stack", f"settings are completed from {data_dir()}")


def port_finding() -> Finding:
    """Check that the port is free, or held by an edge. Raises SettingsError for a wrong PORT."""
    port = stack_port()
    if is_free(port):
        return Finding("port", f"{port} is free")
    if http_ok(port, "/healthz")():
        return Finding("port", f"{port} is in use by an edge")
    return Finding("port", f"{port} is in use by something else", f"stop it, or set PORT={port + 100}")
