"""Listens on one socket for each address of the host, and has uvicorn serve them."""

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from infra.settings.base import SettingsError
from infra.settings.edge import EdgeSettings
from socket_edge.connection.bounds import BACKLOG, SHUTDOWN_S, BoundedHttp, bound_unread
from socket_edge.connection.handshake import Handshake

_LOOK_S: Final = 0.1
_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def serve(
    app: ASGIApp,
    settings: EdgeSettings,
    drain: Callable[[], Coroutine[Any, Any, None]],
    shutting_down: Callable[[], None],
    request_timed_out: Callable[[], None],
) -> None:
    """Serve an application until SIGTERM.

    Then `drain` runs while the application still listens, unless a second SIGINT cuts it short. After that,
    `shutting_down` is called, once or several times. `request_timed_out` is called for each client that is
    cut off because its request takes too long.

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
    _Server(config, drain).run(sockets=listen(settings.host, settings.port, unread_s))


class _Server(uvicorn.Server):
    """Drains before it stops listening."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__(config)
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then stop. uvicorn calls this after SIGTERM."""
        draining = asyncio.create_task(self._drain())
        while not draining.done() and not self.force_exit:
            await asyncio.wait([draining], timeout=_LOOK_S)
        draining.cancel()
        await super().shutdown(sockets)


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
