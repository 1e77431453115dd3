"""Clients that record everything, reconnect, and retry with the same `clientId`."""

import asyncio
import itertools
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import socketio
from socketio.exceptions import ConnectionError as NotConnected

from tests.faults.local_copy import LocalCopy
from tests.faults.records import Asked, Block, Change, Delivered, Records, Sent
from tests.faults.wanted import Try
from tests.harness.deployment import user_id_of
from tests.harness.waiting import until

_GIVE_UP_S: Final = 20.0
"""How long a client waits for an answer; longer than the deadline of a request."""
_PAUSE_S: Final = 0.2
"""Before a client connects or tries again."""

OTHERS: Final = (
    "mark_as_read",
    "list_chats",
    "sync",
    "get_messages",
    "join_chat",
    "register_device",
    "refresh_token",
)
"""What clients request besides sending, changing and blocking."""
_EMOJIS: Final = ("\U0001f44d", "\U0001f602", "\U0001f62e")

Token = Callable[[str], str]
"""Makes an access token for a user name."""


class FaultClient:
    """A user with one connection at a time, to whichever edge takes it."""

    def __init__(self, username: str, urls: Sequence[str], token: Token, records: Records) -> None:
        self.username = username
        self.user_id = user_id_of(username)
        self.url: str | None = None
        """Of the edge it is or was last connected to."""
        self.refusals: list[Any] = []
        """The payloads of `connect_error`."""
        self.copy = LocalCopy(self.user_id, records)
        """What it knows from all that it has received."""
        self.synced = LocalCopy(self.user_id, records)
        """What it knows from `sync` alone."""
        self._urls = itertools.cycle(urls)
        self._token = token
        self._records = records
        self._numbers = itertools.count()
        self._edits = itertools.count()
        self._untouchable: set[tuple[str, int]] = set()
        """Messages that it has tried to unsend, or that the peer has unsent."""
        self._reactions: set[tuple[str, int, str]] = set()
        """Its own, by chat, seq and emoji."""
        self._sio: socketio.AsyncClient | None = None
        self._connection = -1
        self._open: list[Try] = []
        self._connected = asyncio.Event()
        self._gone = asyncio.Event()
        self._seen = asyncio.Condition()
        self._got: set[str] = set()
        self._seqs: dict[str, set[int]] = defaultdict(set)
        """The seqs it has of each chat, its own messages included."""
        self._running: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection right now."""
        return self._connected.is_set()

    async def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._running = asyncio.create_task(self._stay_connected())
        await self._connected.wait()

    async def stop(self) -> None:
        """Disconnect."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def reconnect(self) -> None:
        """Drop the connection and wait for the next one."""
        connection = self._connection
        assert self._sio is not None
        await self._sio.disconnect()
        await until(
            lambda: self._connection != connection and self._connected.is_set(), "the client is back", 60
        )

    async def send(self, peer: "FaultClient", text: str, *, is_poison: bool = False) -> Sent:
        """Send until it is acked or refused as not retryable."""
        sent = Sent(self.user_id, peer.user_id, text, is_poison=is_poison)
        self._records.sent.append(sent)
        payload = {"username": peer.username, "text": text, "clientId": text}
        answer = await self._insist("send_message", payload, sent.tries)
        if sent.is_acked:
            sent.message_id = answer["message"]["id"]
            self._note(answer["message"])
        return sent

    async def change(self, peer: "FaultClient") -> None:
        """Edit, unsend or react to a message of the chat with the peer, until it is acked or refused."""
        positions = [one for one in self.copy.between(peer.user_id) if one not in self._untouchable]
        if not positions:
            return
        change = self._choose(*random.choice(positions))
        self._records.changes.append(change)
        payloads: dict[str, dict[str, Any]] = {
            "edit": {"text": change.value, "clientId": change.value},
            "unsend": {},
            "react": {"emoji": change.value, "on": change.on},
        }
        events = {"edit": "edit_message", "unsend": "unsend_message", "react": "react"}
        payload = {"chatId": change.chat_id, "seq": change.seq, **payloads[change.kind]}
        answer = await self._insist(events[change.kind], payload, change.tries)
        if change.is_acked:
            self._note(answer["message"])
        self._remember(change)

    async def block(self, peer: "FaultClient", *, on: bool) -> None:
        """Block the peer, or take the block back, until it is acked or refused."""
        block = Block(self.user_id, peer.user_id, on)
        self._records.blocks.append(block)
        await self._insist("block_user" if on else "unblock_user", {"username": peer.username}, block.tries)

    def _choose(self, chat_id: str, seq: int) -> Change:
        """Return a change of this message that really changes something."""
        is_own = self.copy.messages[chat_id, seq].sender == self.user_id
        kind = random.choice(("edit", "edit", "edit", "react", "react", "unsend")) if is_own else "react"
        if kind == "edit":
            text = f"{self.username}/edit/{next(self._edits)}"
            return Change(self.user_id, chat_id, seq, "edit", text)
        if kind == "unsend":
            self._untouchable.add((chat_id, seq))
            return Change(self.user_id, chat_id, seq, "unsend")
        emoji = random.choice(_EMOJIS)
        on = (chat_id, seq, emoji) not in self._reactions
        return Change(self.user_id, chat_id, seq, "react", emoji, on)

    def _remember(self, change: Change) -> None:
        if not change.is_acked:
            self._untouchable.add((change.chat_id, change.seq))
        elif change.kind == "react":
            reaction = (change.chat_id, change.seq, change.value)
            (self._reactions.add if change.on else self._reactions.discard)(reaction)

    async def sync(self) -> None:
        """Get in step with the store."""
        more = True
        while more:
            answer = await self._ask_until_acked("sync", {"cursors": self.synced.cursors()})
            more = self._take_gaps(answer["chats"])

    async def list_blocked(self) -> set[str]:
        """Return the users whom it blocks, as it is told in the list of its chats."""
        answer = await self._ask_until_acked("list_chats", {})
        return {chat["peer"]["userId"] for chat in answer["chats"] if chat.get("blocked")}

    async def ask(self, event: str, peer: "FaultClient") -> None:
        """Make one of the `OTHERS` requests about the chat with the peer, if there is one yet."""
        await self._connected.wait()
        if not self._seqs:
            await asyncio.sleep(_PAUSE_S)
            return
        chat_id, seqs = next(iter(self._seqs.items()))
        up_to = next(seq for seq in itertools.count() if seq + 1 not in seqs)
        payloads: dict[str, dict[str, Any]] = {
            "mark_as_read": {"chatId": chat_id, "upTo": up_to},
            "list_chats": {},
            "sync": {"cursors": self.synced.cursors()},
            "get_messages": {"chatId": chat_id, "before": up_to, "limit": 10},
            "join_chat": {"username": peer.username, "limit": 10},
            "register_device": {"channel": "fcm", "address": self.username},
            "refresh_token": {"token": self._token(self.username)},
        }
        asked = Asked(self.user_id, event, self._begin())
        if event == "mark_as_read":
            asked.chat_id, asked.up_to = chat_id, up_to
        self._records.asked.append(asked)
        answer = await self._try(event, payloads[event], asked.attempt)
        if event == "sync" and answer is not None and answer["success"]:
            self._take_gaps(answer["chats"])

    async def taken(self) -> list[Try]:
        """Wait until there are requests that the edge has read and not answered; return them.

        The edge answers `refresh_token` itself, after everything it has read before.
        """
        while True:
            before = list(self._open)
            await self.ask("refresh_token", self)
            if taken := [attempt for attempt in before if attempt.ended_at is None]:
                return taken

    async def wait_got(self, message_ids: set[str]) -> None:
        """Wait until all these messages have arrived."""
        async with self._seen:
            await self._seen.wait_for(lambda: message_ids <= self._got)

    async def _insist(self, event: str, payload: dict[str, Any], tries: list[Try]) -> Any:
        """Try until it is acked or refused as not retryable; return the answer."""
        while True:
            await self._connected.wait()
            tries.append(self._begin())
            answer = await self._try(event, payload, tries[-1])
            if tries[-1].is_final:
                return answer
            await asyncio.sleep(_PAUSE_S)

    async def _ask_until_acked(self, event: str, payload: dict[str, Any]) -> Any:
        """Ask until there is an ack; each time is a request of its own."""
        while True:
            await self._connected.wait()
            asked = Asked(self.user_id, event, self._begin())
            self._records.asked.append(asked)
            answer = await self._try(event, payload, asked.attempt)
            if asked.attempt.code == "ok":
                return answer
            await asyncio.sleep(_PAUSE_S)

    def _begin(self) -> Try:
        return Try(self._connection, time.monotonic())

    def _take_gaps(self, chats: list[dict[str, Any]]) -> bool:
        """Take an answer to `sync`. Return whether there is more."""
        for chat in chats:
            for message in (*chat["messages"], *chat.get("changes", ())):
                self.copy.take(message)
        return self.synced.take_gaps(chats)

    def _note(self, message: dict[str, Any]) -> None:
        self._seqs[message["chatId"]].add(message["seq"])
        self.copy.take(message)

    async def _try(self, event: str, payload: dict[str, Any], attempt: Try) -> Any:
        """Try once; return the answer, or None if there is none."""
        assert self._sio is not None
        gone = self._gone
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle(value: Any) -> None:
            if not answer.done():
                answer.set_result(value)

        with suppress(socketio.exceptions.SocketIOError):
            await self._sio.emit(event, payload, callback=settle)
        self._open.append(attempt)
        cut = asyncio.ensure_future(gone.wait())
        await asyncio.wait([answer, cut], timeout=_GIVE_UP_S, return_when=asyncio.FIRST_COMPLETED)
        cut.cancel()
        self._open.remove(attempt)
        attempt.ended_at = time.monotonic() if answer.done() or gone.is_set() else None
        if not answer.done():
            attempt.code = "cut" if gone.is_set() else None
            return None
        attempt.code = "ok" if answer.result()["success"] else answer.result()["code"]
        return answer.result()

    async def _stay_connected(self) -> None:
        try:
            while True:
                await self._connect_once(next(self._urls))
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._connected.clear()

    async def _connect_once(self, url: str) -> None:
        """Be connected until the connection ends."""
        sio = socketio.AsyncClient(reconnection=False)
        gone = asyncio.Event()
        connection = next(self._numbers)
        greeted = asyncio.Event()

        async def take(message: dict[str, Any]) -> dict[str, bool]:
            self._records.delivered.append(
                Delivered(self.user_id, connection, message["id"], time.monotonic(), message["text"])
            )
            self._note(message)
            async with self._seen:
                self._got.add(message["id"])
                self._seen.notify_all()
            return {"received": True}

        sio.on("new_message", take)
        sio.on("message_changed", self.copy.take)
        sio.on("test_message", lambda *_: greeted.set())
        sio.on("connect_error", self.refusals.append)
        sio.on("disconnect", lambda *_: gone.set())
        try:
            await sio.connect(
                url, auth={"token": self._token(self.username)}, transports=["websocket"], wait_timeout=5
            )
            async with asyncio.timeout(5):
                await greeted.wait()
            self._sio, self._connection, self._gone, self.url = sio, connection, gone, url
            self._connected.set()
            await gone.wait()
        except (NotConnected, TimeoutError):
            pass
        finally:
            gone.set()
            self._connected.clear()
            await asyncio.shield(_close(sio))


async def _close(sio: socketio.AsyncClient) -> None:
    with suppress(Exception):  # whatever a cut connection leaves behind
        await sio.disconnect()
    http = sio.eio.http
    if http is not None and not http.closed:
        await http.close()
