"""A TCP proxy that a test can cut, as a network would."""

import asyncio
import ssl
from typing import Literal

Direction = Literal["to the server", "from the server"]


class Proxy:
    """Forwards connections to `port`. Clients connect to `url`; with a `context`, they speak TLS."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self._target = port
        self._context = context
        self._port = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, Direction] = {}
        """Where what is written goes."""
        self._frozen: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Port of the proxy on 127.0.0.1."""
        return self._port

    @property
    def url(self) -> str:
        """Address of the proxy, which a cut does not change."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> "Proxy":
        """Accept connections, also again after a cut."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port, ssl=self._context)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def cut(self) -> None:
        """Abort all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def move(self, port: int) -> None:
        """Forward new connections to another port, as an address that moves does. Open ones stay."""
        self._target = port

    def freeze(self, direction: Direction) -> None:
        """Forward nothing that way any more on open connections, but go on acknowledging what arrives.

        New ones work. That is what a firewall, a NAT or a balancer makes of a host that is gone.
        """
        self._frozen |= {writer for writer, its in self._open.items() if its == direction}

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = "from the server"
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open[there_writer] = "to the server"
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                if sink not in self._frozen:
                    sink.write(data)
                    await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()
            self._open.pop(sink, None)
