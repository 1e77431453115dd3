"""A python-socketio client that records everything it receives, in order."""

import asyncio
from collections.abc import Callable
from typing import Any

import socketio

from tests.harness.deployment import ANSWERED_S, Edge, make_token, user_id_of
from tests.harness.waiting import PATIENCE_S

Payload = dict[str, Any]


class Client:
    """One socket of one user. Acks every event that asks; without `acks`, only after `start_acking`."""

    def __init__(self, username: str, *, acks: bool = True, reconnection: bool = False) -> None:
        self.username = username
        self.user_id = user_id_of(username)
        self.received: list[tuple[str, Any]] = []
        self.sio = socketio.AsyncClient(reconnection=reconnection, reconnection_delay=0.1)
        self._may_ack = asyncio.Event()
        if acks:
            self._may_ack.set()
        self._changed = asyncio.Condition()
        self.sio.on("*", self._record)
        self.sio.on("connect_error", self._record_refusal)
        self.sio.on("disconnect", self._record_disconnect)

    async def connect(
        self,
        edge: Edge,
        *,
        token: str | None = None,
        transports: list[str] | None = None,
        wait_for_workers: bool = True,
    ) -> "Client":
        """Connect and wait until the workers know the user, so that others can send them messages."""
        auth = {"token": make_token(self.username) if token is None else token}
        # By default, the client gives the server one second.
        await self.sio.connect(
            edge.url, auth=auth, transports=transports or ["websocket"], wait_timeout=ANSWERED_S
        )
        await self.expect("test_message")
        if wait_for_workers:
            await self._wait_for_workers()
        return self

    async def call(self, event: str, payload: Any = None, timeout_s: float = ANSWERED_S) -> Any:
        """Emit and return the ack."""
        return await self.sio.call(event, payload, timeout=timeout_s)

    async def send(self, username: str, text: str, **more: Any) -> Payload:
        """Send a message and return the ack."""
        ack: Payload = await self.call("send_message", {"username": username, "text": text, **more})
        return ack

    async def settle(self) -> None:
        """Wait until everything that the edge has asked of the workers so far has been answered."""
        for _ in range(2):
            assert (await self.call("list_chats", {}))["success"]

    def of(self, event: str) -> list[Any]:
        """Return the payloads of an event in the order they arrived."""
        return [payload for name, payload in self.received if name == event]

    async def expect(
        self,
        event: str,
        where: Callable[[Any], bool] = lambda _: True,
        *,
        count: int = 1,
        timeout_s: float = PATIENCE_S,
    ) -> Any:
        """Wait until `count` such events have arrived; return the last one."""
        async with self._changed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait_for(lambda: len(self._found(event, where)) >= count)
            except TimeoutError:
                names = [name for name, _ in self.received]
                raise AssertionError(
                    f"{self.username} got {len(self._found(event, where))} of {count} {event}; all: {names}"
                ) from None
            return self._found(event, where)[count - 1]

    def start_acking(self) -> None:
        """Ack everything received so far and from now on."""
        self._may_ack.set()

    async def follow(self, peer: "Client") -> Any:
        """Join the chat with a user, after a message each way: they see each other's presence then."""
        for one, other in ((self, peer), (peer, self)):
            assert (await one.send(other.username, "hello"))["success"]
        return await self.call("join_chat", {"username": peer.username})

    async def close(self) -> None:
        """Disconnect, and close the session that python-engineio leaves open after some refusals and cuts."""
        await self.sio.disconnect()
        http = self.sio.eio.http
        if http is not None and not http.closed:
            await http.close()

    async def _wait_for_workers(self) -> None:
        """Ask until workers answer: where many start at once, that may take longer than the deadline."""
        for _ in range(6):
            ack = await self.call("list_chats", {})
            if ack.get("code") not in ("timeout", "unavailable"):
                return

    def _found(self, event: str, where: Callable[[Any], bool]) -> list[Any]:
        return [payload for payload in self.of(event) if where(payload)]

    async def _record_refusal(self, data: Any) -> None:
        await self._note("connect_error", data)

    async def _record_disconnect(self, reason: str) -> None:
        await self._note("disconnect", reason)

    async def _record(self, event: str, payload: Any = None) -> Any:
        await self._note(event, payload)
        await self._may_ack.wait()
        return {"received": True, "messageId": payload.get("id") if isinstance(payload, dict) else None}

    async def _note(self, event: str, payload: Any) -> None:
        async with self._changed:
            self.received.append((event, payload))
            self._changed.notify_all()
