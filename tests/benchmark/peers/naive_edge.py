"""Represents the edge of the naive split: python-socketio puts each message on Celery's queue as a task.

What the task made of it comes back by Redis pub/sub: then the sender gets its ack, and both sides get their
events. Users are not authenticated. The workers are in `naive_tasks`; more than one edge would work too.
"""

import asyncio
import json
import os
import uuid
from datetime import UTC, datetime
from typing import Any

import socketio
import uvicorn
from kombu.exceptions import OperationalError
from redis.asyncio import Redis

from tests.benchmark.peers.naive_tasks import CHANNEL, TASK, celery_app

TIMEOUT_S = 30.0


class Chat:
    """The event handlers, who is connected, and the messages that are on their way through a worker."""

    def __init__(self, sio: Any) -> None:
        self.sio = sio
        self.names: dict[str, str] = {}
        self.sids: dict[str, set[str]] = {}
        self.waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self.delivered = 0

    async def open(self) -> None:
        results = Redis.from_url(os.environ["REDIS_URL"]).pubsub(ignore_subscribe_messages=True)
        await results.subscribe(CHANNEL)
        self.listener = asyncio.create_task(self.listen(results))

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
        task_id = str(uuid.uuid4())
        loop = asyncio.get_running_loop()
        answer = self.waiting[task_id] = loop.create_future()
        args = (task_id, self.names[sid], data["username"], data["text"], data.get("clientId"))
        try:
            # Celery has no asyncio interface, and what blocks belongs in a thread.
            await loop.run_in_executor(None, celery_app.send_task, TASK, args)
            return await asyncio.wait_for(answer, TIMEOUT_S)
        except (OperationalError, TimeoutError) as error:
            return {"success": False, "error": str(error), "code": "internal", "retryable": True}
        finally:
            del self.waiting[task_id]

    async def listen(self, results: Any) -> None:
        async for item in results.listen():
            result = json.loads(item["data"])
            answer = result["answer"]
            waiting = self.waiting.get(result["taskId"])
            if waiting and not waiting.done():
                waiting.set_result(answer)
            if answer["success"]:
                await self.announce(answer["message"])

    async def announce(self, message: dict[str, Any]) -> None:
        for own in tuple(self.sids.get(message["senderId"], ())):
            await self.sio.emit("message_sent", message, to=own)
        for other in tuple(self.sids.get(message["recipientId"], ())):
            await self.sio.emit("new_message", message, to=other, callback=self.count)

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
