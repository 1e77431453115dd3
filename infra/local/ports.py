"""Ports of the local stack: chosen once and remembered, unless another program has taken them."""

import contextlib
import errno
import json
import secrets
import socket
from pathlib import Path
from typing import Any, Final

from infra.settings.base import SettingsError

HOST: Final = "127.0.0.1"

_EVERYWHERE: Final = {"0.0.0.0": HOST, "::": "::1"}  # noqa: S104
"""Where to reach what listens on all addresses of a family."""
_FIRST: Final = 20_000
_COUNT: Final = 10_000


def is_free(port: int, host: str = "localhost") -> bool:
    """Return whether this port is free on all addresses of a host; for localhost, 127.0.0.1 and ::1.

    Raises SettingsError if the host cannot be resolved, or the port is for root only.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise SettingsError(f"BBGRAM_HOST is wrong: {host} cannot be resolved.") from error
    addresses = {(family, address) for family, _, _, _, address in found}
    if host == "localhost":
        addresses |= {(socket.AF_INET, (HOST, port)), (socket.AF_INET6, ("::1", port))}
    return not any(_is_taken(family, address) for family, address in addresses)


def reachable(host: str) -> str:
    """Return the host under which a program on this machine reaches what listens on `host`."""
    return _EVERYWHERE.get(host, host)


def another_port(port: int, host: str = "localhost") -> int:
    """Return a free port for somebody who cannot have this one. Raises SettingsError."""
    candidates = (*range(port + 100, 65_536, 100), *range(3_100, 65_536, 100))
    return next((other for other in candidates if is_free(other, host)), free_port())


def _is_taken(family: int, address: tuple[Any, ...]) -> bool:
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
        # Some systems let two sockets bind to the same port.
        with socket.socket(family) as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(address) == 0
    except PermissionError as error:
        raise SettingsError(f"PORT={address[1]} is for root only: choose one from 1024 on.") from error
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def free_port() -> int:
    """Return a free port below the range that outgoing connections use."""
    while not is_free(port := _FIRST + secrets.randbelow(_COUNT)):
        pass
    return port


class Ports:
    """The ports of a stack, by part, kept in a file of its data folder."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, OverflowError, RecursionError):
            self._known = {str(name): int(port) for name, port in dict(json.loads(file.read_text())).items()}

    def choose(self, name: str, preferred: int = 0, avoid: int = 0) -> int:
        """Return the previous port if it is free, else the preferred one, else any free one."""
        taken = {avoid, *(port for other, port in self._known.items() if other != name)}
        for port in (self._known.get(name, 0), preferred, free_port(), free_port(), free_port()):
            if 0 < port <= 65535 and port not in taken and is_free(port):
                break
        self._known[name] = port
        self._file.write_text(json.dumps(self._known))
        return port
