"""Ports of the local stack: chosen once and remembered, unless another program has taken them."""

import contextlib
import errno
import json
import secrets
import socket
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"

_LOCALHOST: Final = ((socket.AF_INET, HOST), (socket.AF_INET6, "::1"))
_FIRST: Final = 20_000
_COUNT: Final = 10_000


def is_free(port: int) -> bool:
    """Return whether this port is free on both addresses of localhost."""
    return not any(_is_taken(family, host, port) for family, host in _LOCALHOST)


def _is_taken(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        with socket.socket(family) as probe:
            probe.settimeout(0.5)
            if probe.connect_ex((host, port)) == 0:
                return True
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return False


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
        with contextlib.suppress(OSError, ValueError, TypeError):
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
