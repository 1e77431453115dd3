"""Listens on one socket for each address of the host, and has uvicorn serve them."""

import errno
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from infra.settings.base import SettingsError
from infra.settings.edge import EdgeSettings
from socket_edge.connection.bounds import BACKLOG, SHUTDOWN_S, BoundedHttp, bound_unread
from socket_edge.connection.handshake import Handshake

_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def serve(
    app: ASGIApp,
    settings: EdgeSettings,
    shutting_down: Callable[[], None],
    request_timed_out: Callable[[], None],
) -> None:
    """Serve an application until SIGTERM.

    `shutting_down` is called then, once or several times; `request_timed_out` for each client that is cut
    off because its request takes too long.

    Raises SettingsError if it cannot listen on the address.
    """
    config = uvicorn.Config(
        app,
        http=BoundedHttp.within(settings.connect_s, shutting_down, request_timed_out),
        ws=Handshake,
        ws_max_size=settings.transport_bytes,
        ws_per_message_deflate=False,
        # Engine.IO has a heartbeat of its own.
        ws_ping_interval=None,
        timeout_graceful_shutdown=SHUTDOWN_S,
        access_log=False,
        log_config=None,
        log_level="warning",
    )
    unread_s = settings.heartbeat_s + settings.heartbeat_timeout_s
    uvicorn.Server(config).run(sockets=listen(settings.host, settings.port, unread_s))


def listen(host: str, port: int, unread_s: float) -> list[socket.socket]:
    """Listen on every address of `host`: `localhost` is 127.0.0.1 and, where there is IPv6, ::1.

    A client that leaves data unread for `unread_s` seconds is cut off.

    Raises SettingsError when the port is taken or `host` is not an address of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise SettingsError(f"BBGRAM_HOST is wrong: {host} cannot be resolved ({error.strerror}).") from error
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
        raise SettingsError(f"BBGRAM_HOST is wrong: {host} is not an address of this machine.")
    return sockets


def _open(family: int, address: tuple[object, ...], unread_s: float) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound_unread(opened, unread_s)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened
