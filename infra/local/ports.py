"""Ports of the local stack: chosen once, remembered, and chosen again when somebody else took them."""

import contextlib
import json
import socket
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Ports:
    """The ports of a stack by the name of the part, kept in a file of its data folder."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(file.read_text())
            self._known = {name: port for name, port in known.items() if isinstance(port, int)}

    def choose(self, name: str, preferred: int | None = None, avoid: int | None = None) -> int:
        """Return the port of last time if it is free, else the preferred one, else any free one."""
        for port in (self._known.get(name), preferred):
            if port and port <= 65535 and port != avoid and is_free(port):
                break
        else:
            port = free_port()
        self._known[name] = port
        self._file.write_text(json.dumps(self._known))
        return port
