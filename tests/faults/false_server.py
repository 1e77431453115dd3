"""A server that acks what it does not do, for tests of what clients record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import socketio
from aiohttp import web

from tests.harness.engines import free_port


class FalseServer:
    """Greets every client, refuses the first request, and answers later ones as a subclass says."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncServer(async_mode="aiohttp")
        self.asked: list[tuple[str, dict[str, Any]]] = []
        """The requests that came."""
        self.sio.on("connect", self._greet)
        self.sio.on("*", self._ack)

    def answer(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return the ack of a request."""
        raise NotImplementedError

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve, and give the address."""
        app = web.Application()
        self.sio.attach(app)
        runner = web.AppRunner(app)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}"
        await self.sio.shutdown()
        await runner.cleanup()

    async def _greet(self, sid: str, *_: Any) -> None:
        self.sio.start_background_task(self.sio.emit, "test_message", to=sid)

    async def _ack(self, event: str, sid: str, payload: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((event, payload))
        if len(self.asked) == 1:
            return {"success": False, "retryable": True, "code": "unavailable"}
        return {"success": True, **self.answer(payload)}
