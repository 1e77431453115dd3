"""A stock python-socketio server that answers a few events as our edge does.

Run it with `python -m tests.conformance.stock --port PORT`.
"""

import argparse
import asyncio
import time
from typing import Any

import jwt
import socketio
import uvicorn
from socketio.exceptions import ConnectionRefusedError as Refused

FRAME_BYTES = 1_000_000


class Talk:
    """Admits everybody with a username and forwards messages to whoever is connected."""

    def __init__(self, sio: socketio.AsyncServer) -> None:
        self._sio = sio
        self._claims: dict[str, dict[str, Any]] = {}
        for event in ("connect", "disconnect", "join_chat", "list_chats", "send_message"):
            sio.on(event, getattr(self, event))
        sio.on("*", self.unknown)

    async def connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        try:
            claims = jwt.decode(auth["token"], options={"verify_signature": False})
        except (jwt.InvalidTokenError, KeyError, TypeError):
            raise Refused("Who are you?", {"code": "unauthorized"}) from None
        left_s = claims["exp"] - time.time()
        if left_s <= 0:
            raise Refused("Too late.", {"code": "token_expired"})
        asyncio.get_running_loop().call_later(
            left_s, lambda: asyncio.ensure_future(self._sio.disconnect(sid))
        )
        self._claims[sid] = claims
        # The client must learn that it is connected before anything else.
        self._sio.start_background_task(self._welcome, sid)

    async def disconnect(self, sid: str, reason: str) -> None:
        if claims := self._claims.pop(sid, None):
            await self._sio.emit("user_status", {"userId": claims["sub"], "status": "offline"})

    async def list_chats(self, sid: str, payload: Any = None) -> dict[str, Any]:
        return {"success": True, "chats": []}

    async def join_chat(self, sid: str, payload: Any = None) -> dict[str, Any]:
        return {"success": True}

    async def send_message(self, sid: str, payload: dict[str, Any]) -> dict[str, Any]:
        message = {"text": payload["text"]}
        await self._sio.emit("message_sent", message, to=sid)
        for other, claims in list(self._claims.items()):
            if claims["user_metadata"]["username"] == payload["username"]:
                await self._sio.emit("new_message", message, to=other, callback=lambda *_: None)
        return {"success": True, "message": message}

    async def unknown(self, event: str, sid: str, *payloads: Any) -> dict[str, Any]:
        return {"success": False, "code": "unknown_event"}

    async def _welcome(self, sid: str) -> None:
        if claims := self._claims.get(sid):
            await self._sio.emit("connection_success", {"userId": claims["sub"]}, to=sid)
            await self._sio.emit("test_message", {"message": "Hello."}, to=sid, callback=lambda *_: None)


def main() -> None:
    """Serve until SIGTERM, with the settings of uvicorn that our edge has."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--heartbeat-s", type=float, default=25)
    parser.add_argument("--heartbeat-timeout-s", type=float, default=20)
    arguments = parser.parse_args()
    sio = socketio.AsyncServer(
        async_mode="asgi",
        cors_allowed_origins="*",
        max_http_buffer_size=FRAME_BYTES,
        ping_interval=arguments.heartbeat_s,
        ping_timeout=arguments.heartbeat_timeout_s,
    )
    Talk(sio)
    uvicorn.run(
        socketio.ASGIApp(sio),
        port=arguments.port,
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=FRAME_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
        access_log=False,
    )


if __name__ == "__main__":
    main()
