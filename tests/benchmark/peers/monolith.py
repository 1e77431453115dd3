"""Represents the usual chat in Python: python-socketio on uvicorn, with a pool of asyncpg connections.

One process does everything, as the documentation of the three shows it. Every message is one INSERT that
commits on its own. Users are not authenticated.
"""

import asyncio
import os
from datetime import UTC, datetime
from typing import Any

import asyncpg
import socketio
import uvicorn

CREATE = """
    CREATE TABLE IF NOT EXISTS messages (
        id bigserial PRIMARY KEY,
        sender text NOT NULL,
        recipient text NOT NULL,
        text text NOT NULL,
        client_id text,
        created_at timestamptz NOT NULL DEFAULT now()
    )
"""
INSERT = """
    INSERT INTO messages (sender, recipient, text, client_id) VALUES ($1, $2, $3, $4)
    RETURNING id, created_at
"""


async def keep_session(_: Any) -> None:
    """Give a connection back to the pool as it is: by default, that would cost a round trip a message."""


class Chat:
    """The event handlers and the connected users."""

    pool: asyncpg.Pool

    def __init__(self, sio: Any) -> None:
        self.sio = sio
        self.names: dict[str, str] = {}
        self.sids: dict[str, set[str]] = {}
        self.delivered = 0

    async def open(self) -> None:
        size = int(os.environ.get("POOL", "10"))
        # The pool gives a free connection to the next caller, even if others wait; this is fair.
        self.turns = asyncio.Semaphore(size)
        # asyncpg prepares a statement once for each connection, without being asked.
        self.pool = await asyncpg.create_pool(
            os.environ["DATABASE_URL"], min_size=size, max_size=size, reset=keep_session
        )
        await self.pool.execute(CREATE)

    async def connect(self, sid: str, _: Any, auth: dict[str, str]) -> None:
        name = self.names[sid] = auth["username"]
        self.sids.setdefault(name, set()).add(sid)
        now = datetime.now(UTC).isoformat()
        await self.sio.emit("connection_success", {"userId": name, "socketId": sid}, to=sid)
        await self.sio.emit("test_message", {"message": "Welcome!", "timestamp": now}, to=sid)

    async def disconnect(self, sid: str, _: str) -> None:
        name = self.names.pop(sid)
        self.sids[name].discard(sid)
        if not self.sids[name]:
            del self.sids[name]

    async def send_message(self, sid: str, data: dict[str, Any]) -> dict[str, Any]:
        try:
            message = await self.store(self.names[sid], data["username"], data["text"], data.get("clientId"))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            return {"success": False, "error": str(error), "code": "internal", "retryable": True}
        for own in tuple(self.sids.get(message["senderId"], ())):
            await self.sio.emit("message_sent", message, to=own)
        for other in tuple(self.sids.get(message["recipientId"], ())):
            await self.sio.emit("new_message", message, to=other, callback=self.count)
        return {"success": True, "message": message}

    async def store(self, sender: str, recipient: str, text: str, client_id: str | None) -> dict[str, Any]:
        async with self.turns:
            row = await self.pool.fetchrow(INSERT, sender, recipient, text, client_id)
        return {
            "id": str(row["id"]),
            "senderId": sender,
            "senderUsername": sender,
            "recipientId": recipient,
            "recipientUsername": recipient,
            "text": text,
            "createdAt": row["created_at"].isoformat(),
            "status": "sent",
            "clientId": client_id,
        }

    def count(self, *_: Any) -> None:
        self.delivered += 1


def main() -> None:
    """Serve until SIGTERM."""
    # Clients learn that they are connected before the handler emits to them.
    sio = socketio.AsyncServer(async_mode="asgi", always_connect=True)
    chat = Chat(sio)
    for handler in (chat.connect, chat.disconnect, chat.send_message):
        sio.on(handler.__name__, handler)
    uvicorn.run(
        socketio.ASGIApp(sio, on_startup=chat.open),
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
