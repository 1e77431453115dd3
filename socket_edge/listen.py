"""Opens the listening sockets of an edge: one for each address of its host."""

import errno
import socket

from infra.settings.base import SettingsError

_BACKLOG = 2048
_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def listen(host: str, port: int, unread_s: float) -> list[socket.socket]:
    """Listen on every address of `host`: `localhost` is 127.0.0.1 and, where there is IPv6, ::1.

    A client that leaves what was sent to it unread for `unread_s` is cut off by the kernel (Linux), whoever
    wrote it, and whether or not the connection is being closed.

    Raises SettingsError when the port is taken or the host is not one of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise SettingsError(f"BBGRAM_HOST is wrong: {host} is not known here ({error.strerror}).") from error
    sockets = []
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_open(family, address, unread_s))
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise SettingsError(
                    f"Cannot listen on {host}:{port}: {error.strerror}. "
                    "Stop what listens there, or choose another port (--port, BBGRAM_PORT)."
                ) from error
    if not sockets:
        raise SettingsError(f"BBGRAM_HOST is wrong: {host} is no address of this machine.")
    return sockets


def _open(family: int, address: tuple[object, ...], unread_s: float) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Connections inherit it.
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unread_s * 1000))
        opened.bind(address)
        opened.listen(_BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened
