"""A batch processor in the test's own process, on real engines, for an edge that exists only in Redis."""

import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
import uuid_utils
from redis import Redis
from sqlalchemy import text

from infra.presence import PresenceReader, SignOuts
from infra.store.profiles import NamedUser, insert_profiles
from infra.wire import names
from infra.wire.batch import Batch, Event
from infra.wire.clock import RedisClock
from infra.wire.commands import CHANNELS
from infra.wire.errors import Failure
from infra.wire.inbox import Answer, Emit, InboxEntry, decode_entry
from tests.harness.engines import Store
from workers.batch_processor import BatchProcessor
from workers.context import HandlerContext
from workers.handler_table import HANDLERS, Handler
from workers.publish import Publisher
from workers.screening import Screen
from workers.sweep import Sweep

LEASE_MS = 600_000


def replace_handler(monkeypatch: pytest.MonkeyPatch, name: str, handle: Handler) -> None:
    """Have another handler take a command for the rest of the test."""
    monkeypatch.setitem(HANDLERS, name, replace(HANDLERS[name], handle=handle))


@dataclass(frozen=True)
class Reply:
    """What one edge received since the test last looked."""

    entries: list[InboxEntry]

    @property
    def answers(self) -> dict[str, Answer]:
        """All answers, by the id of the event."""
        return {answer.id: answer for entry in self.entries for answer in entry.all_answers()}

    @property
    def emits(self) -> list[Emit]:
        """All emits, in order."""
        return [emit for entry in self.entries for emit in entry.emits]

    def ack(self, event: Event) -> Any:
        """Return the decoded ack of an event that must have succeeded."""
        answer = self.answers[event.id]
        assert answer.failure is None, answer.failure
        return msgspec.json.decode(answer.data)

    def failure(self, event: Event) -> Failure:
        """Return why an event failed."""
        failure = self.answers[event.id].failure
        assert failure is not None, f"{event.name} succeeded"
        return failure

    def emitted(self, event: str, user_id: uuid.UUID) -> list[Any]:
        """Return the decoded payloads of one event to one user."""
        return [
            msgspec.json.decode(emit.data)
            for emit in self.emits
            for target in emit.to
            if target.event == event and target.user_id == str(user_id)
        ]


class WorkerBench:
    """A batch processor and a sweep, people, and batches made by hand."""

    def __init__(
        self, store: Store, *, redis: Redis | None = None, screen: Screen | None = None, **limits: Any
    ) -> None:
        self.edge_id = f"edge-{uuid.uuid4().hex[:8]}"
        self.engine = store.engine(by_indexes=True, pool_size=4, timeouts=False)
        self.worker_engine = store.engine(pool_size=4, for_batches=True)
        self.redis_url = store.redis_url
        self.redis = Redis.from_url(store.redis_url)
        own = redis or self.redis
        self.publisher = Publisher(own, RedisClock())
        self.context = HandlerContext(
            presence=PresenceReader(own),
            sign_outs=SignOuts(own),
            **{
                "provision_profiles": True,
                "text_chars": 4_000,
                "edit_s": 3_600,
                "unsend_s": 172_800,
                "page": 50,
                "page_max": 100,
                "sweep_after_s": 10.0,
                "device_channels": CHANNELS,
                "devices_max": 20,
                **limits,
            },
        )
        self.processor = BatchProcessor(self.worker_engine, self.publisher, self.context, screen=screen)
        self.sweep = Sweep(self.worker_engine, own, self.publisher, self.context)
        self._numbers = itertools.count(1)
        self._read_up_to: dict[str, str] = {}
        self.open_edge(self.edge_id)

    def close(self) -> None:
        """Remove everything from Redis and disconnect from it."""
        for edge_id in self._read_up_to:
            self.redis.zrem(names.LEASES_KEY, edge_id)
            self.redis.delete(names.inbox_key(edge_id), names.edge_users_key(edge_id))
        self.redis.close()

    def person(self, base: str) -> tuple[uuid.UUID, str]:
        """Create a unique profile; return its id and name."""
        ((user_id, username),) = self.people(base)
        return user_id, username

    def people(self, *bases: str) -> list[tuple[uuid.UUID, str]]:
        """Create unique profiles with one statement; return their ids and names."""
        made = [(uuid.uuid4(), f"{base}_{self.edge_id}_{next(self._numbers)}") for base in bases]
        with self.engine.begin() as conn:
            insert_profiles(conn, [NamedUser(str(user_id), username) for user_id, username in made])
        return made

    def open_edge(self, edge_id: str, *, lease_ms: int = LEASE_MS) -> None:
        """Give an edge an inbox and a lease. A negative lease has ended."""
        self.redis.xadd(names.inbox_key(edge_id), {"made": "by hand"}, id="0-1")
        self.redis.xdel(names.inbox_key(edge_id), "0-1")
        seconds, micros = self.redis.time()
        self.redis.zadd(names.LEASES_KEY, {edge_id: seconds * 1000 + micros // 1000 + lease_ms})
        self._read_up_to[edge_id] = "-"

    def connect(self, user_id: uuid.UUID, edge_id: str | None = None) -> None:
        """Register a socket of the user."""
        edge_id = edge_id or self.edge_id
        self.redis.sadd(names.user_edges_key(str(user_id)), edge_id)
        self.redis.sadd(names.edge_users_key(edge_id), str(user_id))

    def event(self, user_id: uuid.UUID, name: str, payload: Mapping[str, Any] | bytes) -> Event:
        """Return one client event."""
        encoded = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        return Event(str(uuid_utils.uuid7()), name, str(user_id), "socket-1", msgspec.Raw(encoded))

    def send(self, sender: uuid.UUID, to: str, words: str, **more: Any) -> Event:
        """Return one `send_message`."""
        return self.event(sender, "send_message", {"username": to, "text": words, **more})

    def open_chat(self, sender: uuid.UUID, to: str) -> str:
        """Send the first message of a chat; return the id of the chat."""
        first = self.send(sender, to, "hello")
        chat_id: str = self.ask(first).ack(first)["message"]["chatId"]
        return chat_id

    def befriend(self, user: uuid.UUID, *others: tuple[uuid.UUID, str]) -> None:
        """Have a user join chats with others, and let everybody see them: not only those who have written."""
        self.ask(*(self.event(user, "join_chat", {"username": username}) for _, username in others))
        shown = [str(other) for other, _ in others]
        self.rows("UPDATE profiles SET show_presence = 'everyone' WHERE id = ANY(:shown)", shown=shown)

    def make_due(self, chat_id: str) -> None:
        """Let the next sweep look at a chat that is watched, instead of one in some seconds."""
        due = "UPDATE chats SET sweep_at = now() WHERE id = :chat AND sweep_at IS NOT NULL"
        self.rows(due, chat=chat_id)

    @contextmanager
    def refusing(self, words: str) -> Iterator[None]:
        """Have the database refuse to store one text, by the constraint `no_poison`."""
        self.rows(f"ALTER TABLE messages ADD CONSTRAINT no_poison CHECK (text <> '{words}') NOT VALID")
        try:
            yield
        finally:
            self.accept()

    def accept(self) -> None:
        """Have the database store every text again."""
        self.rows("ALTER TABLE messages DROP CONSTRAINT IF EXISTS no_poison")

    def batch(self, events: Iterable[Event]) -> Batch:
        """Return the events as a batch of this bench's edge."""
        return Batch(uuid_utils.uuid7().hex, self.edge_id, list(events))

    def ask(self, *events: Event) -> Reply:
        """Process the events as one batch; return what the edge received."""
        self.processor.process([self.batch(events)])
        return self.read()

    def read(self, edge_id: str | None = None) -> Reply:
        """Return what an edge received since the test last looked."""
        edge_id = edge_id or self.edge_id
        found: Any = self.redis.xrange(names.inbox_key(edge_id), self._read_up_to[edge_id], "+")
        if found:
            self._read_up_to[edge_id] = f"({found[-1][0].decode()}"
        return Reply([decode_entry(fields[names.INBOX_FIELD]) for _, fields in found])

    def rows(self, sql: str, **params: object) -> list[Any]:
        """Run a statement and return its rows, if it has any."""
        with self.engine.begin() as conn:
            result = conn.execute(text(sql), params)
            return list(result) if result.returns_rows else []

    def seqs(self, chat_id: str) -> list[int]:
        """Return the stored seqs of a chat, ascending."""
        return [
            row.seq
            for row in self.rows("SELECT seq FROM messages WHERE chat_id = :c ORDER BY seq", c=chat_id)
        ]
