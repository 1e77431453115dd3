"""The setting of a run: its own engines, two edges, two workers, beat, and pairs of clients."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import socketio
from redis import Redis
from sqlalchemy import text

from infra.redis_client import make_redis
from infra.settings.store import SCHEMA
from infra.store.profiles import NamedUser, insert_profiles
from infra.wire import names
from tests.faults.apart import put_far_away
from tests.faults.backend import FaultBackend
from tests.faults.checker import wrong_watermarks
from tests.faults.clients import FaultClient
from tests.faults.disk import SmallDisk
from tests.faults.records import Records, State, Stored
from tests.faults.told import Hearer
from tests.harness import webhooks
from tests.harness.deployment import Deployment, Edge, Part, user_id_of
from tests.harness.engines import Engines, Store
from tests.harness.key_server import KeyServer, Project
from tests.harness.sentinel import SentinelSet
from tests.harness.server_api import API_KEYS
from tests.harness.slow_link import NEAR, SlowLink
from tests.harness.waiting import until

_MESSAGES = """
SELECT id::text, chat_id::text, seq, sender_id::text, recipient_id::text, client_id, text,
    coalesce(change, 0) AS change, deleted_at, coalesce(reactions, '[]') AS reactions
FROM messages
"""
_BLOCKED = """
SELECT user_lo::text AS user_id, user_hi::text AS peer_id FROM chats WHERE lo_blocked_at IS NOT NULL
UNION ALL
SELECT user_hi::text, user_lo::text FROM chats WHERE hi_blocked_at IS NOT NULL
"""


def _stored(row: Any) -> Stored:
    """Return a row of the table. Clients give the text that they send as the client id, too."""
    reactions = frozenset((emoji, user_id) for emoji, user_id in row.reactions)
    return Stored(
        id=row.id,
        chat_id=row.chat_id,
        seq=row.seq,
        sender=row.sender_id,
        recipient=row.recipient_id,
        text=row.client_id if row.change else row.text,
        change=row.change,
        state=State(row.text, row.deleted_at is not None, reactions) if row.change else None,
    )


class Field:
    """One run's processes and clients."""

    def __init__(
        self,
        engines: Engines,
        store: Store,
        folder: Path,
        disk: SmallDisk | None,
        sentinels: SentinelSet | None,
        link: SlowLink | None,
        *,
        forked: bool = False,
        **settings: Any,
    ) -> None:
        self.engines = engines
        self._disk = disk
        self._sentinels = sentinels
        self._link = link
        self.project = Project(KeyServer(NEAR if link else "127.0.0.1"))
        self.kid = "first"
        """Name of the key that new tokens are signed with."""
        self.chat = Deployment(
            store,
            folder,
            forked=forked,
            supabase_url=self.project.server.url,
            provision_profiles=False,
            api_keys=API_KEYS,
            **settings,
        ).without_coverage()
        del self.chat.env["BBGRAM_SUPABASE_JWT_SECRET"]
        if link:
            put_far_away(self.chat, link)
        self.records = Records()
        self._hearer = Hearer.start(folder) if "webhooks" in settings else None
        self.clients: list[FaultClient] = []
        self.notes: list[str] = []
        """Remarks of the fault, beside the counts."""
        self.wrong: list[str] = []
        """Broken expectations, beside the counts."""
        self.afterwards = AsyncExitStack()
        """What the fault leaves to be stopped at the end of the run."""
        self.kills = 0
        """How many workers have died and been replaced."""

    @property
    def disk(self) -> SmallDisk:
        """Return the file system of Postgres, for the fault that asks for one."""
        assert self._disk is not None
        return self._disk

    @property
    def sentinels(self) -> SentinelSet:
        """Return the Sentinels and the servers that they watch, for the fault that asks for them."""
        assert self._sentinels is not None
        return self._sentinels

    @property
    def link(self) -> SlowLink:
        """Return the link to edges, workers and beat, for the fault that asks for one."""
        assert self._link is not None
        return self._link

    @property
    def hearer(self) -> Hearer:
        """Return the endpoint of webhooks, for a fault whose settings name one."""
        assert self._hearer is not None
        return self._hearer

    @property
    def redis(self) -> Redis:
        """Return a Redis client for the fault to use."""
        return make_redis(self.chat.store.redis_url, 5, retries=0)

    @contextmanager
    def admin(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a database connection for the fault to use; each statement commits."""
        url = self.chat.store.database_url.replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True, options=f"-c search_path={SCHEMA}") as conn:
            yield conn

    def healed(self) -> None:
        """Record that the fault is repaired."""
        self.records.healed_at = time.monotonic()

    def start(self, worker_settings: dict[str, str]) -> None:
        """Start two edges, two workers and beat."""
        for _ in range(2):
            self.start_worker(worker_settings)
        if self._hearer is not None:
            self.start_sender()
        self.chat.start(edges=2, workers=0)

    def start_sender(self) -> None:
        """Start what sends webhooks."""
        webhooks.start_sender(self.chat, self.hearer.url, self.hearer.certificate)

    def start_worker(self, settings: dict[str, str] | None = None) -> Part:
        """Start a worker, with environment variables of its own."""
        env = self.chat.env
        self.chat.env = {**env, **(settings or {})}
        try:
            return self.chat.start_worker()
        finally:
            self.chat.env = env

    async def replace_workers(self) -> None:
        """Replace the workers one after another, as a rolling update does."""
        for worker in list(self.chat.workers):
            await self.replace_worker(worker)

    async def replace_worker(self, worker: Part, settings: dict[str, str] | None = None) -> None:
        """Stop a worker once a new one waits for work."""
        await self.wait_idle(self.start_worker(settings))
        await asyncio.to_thread(worker.stop)
        self.chat.workers.remove(worker)

    async def wait_idle(self, worker: Part) -> None:
        """Wait until a worker waits for work."""
        process = psutil.Process(worker.process.pid)

        def is_idle() -> bool:
            ports = {str(one.laddr.port) for one in process.net_connections("tcp")}
            waiting = [one for one in redis.client_list() if one["cmd"] == "brpop"]
            return any(one["addr"].rpartition(":")[2] in ports for one in waiting)

        with self.redis as redis:
            await until(is_idle, "the worker waits for work")

    async def restart_edge(self, edge: Edge) -> None:
        """Start an edge on the port of one that has stopped."""
        self.chat.edges.remove(edge)
        await asyncio.to_thread(self.chat.start_edge(wait=False, port=edge.port).wait_ready)

    def token(self, username: str) -> str:
        """Return an access token of the user."""
        return self.project.token(self.kid, sub=user_id_of(username), user_metadata={"username": username})

    async def sign_in_with(self, kid: str, edge: Edge) -> str:
        """Try to connect with a token that is signed with this key; return the code of the refusal."""
        sio = socketio.AsyncClient(reconnection=False)
        refusal: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        sio.on("connect_error", refusal.set_result)
        token = self.project.token(kid, sub=self.clients[0].user_id)
        with suppress(socketio.exceptions.ConnectionError):
            await sio.connect(edge.url, auth={"token": token}, wait_timeout=10)
        return str((await asyncio.wait_for(refusal, 10))["data"]["code"])

    def acked_of(self, clients: Sequence[FaultClient]) -> int:
        """Return how many messages of these clients have been acked so far."""
        senders = {client.user_id for client in clients}
        return sum(1 for sent in self.records.sent if sent.sender in senders and sent.message_id)

    async def connect(self, pairs: int) -> None:
        """Connect that many pairs of clients, half of them to each edge first."""
        clients = self.add(*(f"user{number}" for number in range(2 * pairs)))
        self.add_profiles("shop")
        self.backend = FaultBackend("shop", [edge.url for edge in self.chat.edges], self.records)
        await asyncio.gather(*(client.start() for client in clients))

    def add(self, *usernames: str) -> list[FaultClient]:
        """Return more clients, which are not connected yet."""
        self.add_profiles(*usernames)
        urls = [edge.url for edge in self.chat.edges]
        added = [
            FaultClient(name, urls if number % 4 < 2 else urls[::-1], self.token, self.records)
            for number, name in enumerate(usernames)
        ]
        self.clients += added
        return added

    def add_profiles(self, *usernames: str) -> None:
        """Create the profiles of these users."""
        engine = self.chat.engine
        with engine.begin() as conn:
            insert_profiles(conn, [NamedUser(user_id_of(name), name) for name in usernames])
        engine.dispose()

    def peer_of(self, client: FaultClient) -> FaultClient:
        """Return the client that this one writes to."""
        return self.clients[self.clients.index(client) ^ 1]

    def expect(self, holds: bool, else_say: str) -> None:
        """Record `else_say` as wrong unless `holds`."""
        if not holds:
            self.wrong.append(else_say)

    def look_after_parts(self) -> None:
        """Record processes that died and clients that are missing in the registry."""
        chat = self.chat
        for part in (*chat.edges, *chat.workers, *chat.beats, *chat.functions):
            self.expect(part.process.poll() is None, f"{part.process.args!r} has ended")
        with self.redis as redis:
            unknown = [
                client
                for client in self.clients
                if client.is_connected and not redis.smembers(names.user_edges_key(client.user_id))
            ]
        self.expect(not unknown, f"{len(unknown)} connected users are not registered")

    def read_store(self) -> None:
        """Record the contents of the database."""
        self.records.stored = self.read_messages()
        chats = self.chat.rows("SELECT id::text, last_seq, change FROM chats")
        self.records.last_seqs = {row.id: row.last_seq for row in chats}
        self.records.last_changes = {row.id: row.change for row in chats}
        blocked = self.chat.rows(_BLOCKED)
        self.records.blocked = {(row.user_id, row.peer_id) for row in blocked}
        self.read_watermarks()

    def read_messages(self, database_url: str | None = None) -> list[Stored]:
        """Return all messages, of the database that counts or of another one."""
        if database_url is None:
            return [_stored(row) for row in self.chat.rows(_MESSAGES)]
        store = replace(self.chat.store, database_url=database_url)
        engine = store.engine(pool_size=1)
        try:
            with engine.connect() as conn:
                return [_stored(row) for row in conn.execute(text(_MESSAGES))]
        finally:
            engine.dispose()

    async def read_copies(self, timeout_s: float) -> None:
        """Have the clients get in step with the store, at most `timeout_s`; record what they know then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*map(self._read_copy, self.clients))
        for client in self.clients:
            for copies, copy in ((self.records.copies, client.copy), (self.records.synced, client.synced)):
                for position, known in copy.messages.items():
                    copies[(client.user_id, *position)] = known.change, known.state

    async def _read_copy(self, client: FaultClient) -> None:
        await client.sync()
        self.records.listed[client.user_id] = await client.list_blocked()

    def read_watermarks(self) -> None:
        """Record everybody's watermarks."""
        rows = self.chat.rows(
            "SELECT chat_id::text, user_id::text, delivered_seq, read_seq FROM chat_members"
        )
        self.records.watermarks = {(row[0], row[1]): (row[2], row[3]) for row in rows}

    async def wait_delivered(self, timeout_s: float) -> None:
        """Wait until all stored messages have reached their recipients, at most `timeout_s`."""
        wanted: dict[str, set[str]] = {client.user_id: set() for client in self.clients}
        for row in self.records.stored:
            wanted[row.recipient].add(row.id)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(client.wait_got(wanted[client.user_id]) for client in self.clients))

    async def wait_confirmed(self, timeout_s: float) -> None:
        """Wait until the watermarks agree, at most `timeout_s`."""

        async def agree() -> bool:
            await asyncio.to_thread(self.read_watermarks)
            return not wrong_watermarks(self.records)

        if wrong_watermarks(self.records):
            with suppress(TimeoutError):
                await until(agree, "the watermarks agree", timeout_s)

    async def read_told(self, timeout_s: float) -> None:
        """Wait until nothing is left to tell the app's backend, at most `timeout_s`; record what it was."""
        if self._hearer is None:
            return
        with suppress(TimeoutError):
            await until(lambda: not self.chat.rows("SELECT FROM outbox LIMIT 1"), "all is told", timeout_s)
        self.records.told = self._hearer.told()
        self.notes.append(f"{len(self.records.told)} events told")

    async def stop(self) -> None:
        """Stop clients and processes."""
        await asyncio.gather(*(client.stop() for client in self.clients))
        await asyncio.to_thread(self.chat.stop)
        self.project.server.stop()
        if self._hearer is not None:
            self._hearer.server.stop()
        await self.afterwards.aclose()


@asynccontextmanager
async def supervised(field: Field, settings: Iterable[dict[str, str]]) -> AsyncIterator[None]:
    """Replace workers that die, as a supervisor does; the replacements take these settings in turn."""
    turns = iter(settings)

    async def keep() -> None:
        while True:
            for worker in [one for one in field.chat.workers if one.process.poll() is not None]:
                field.chat.workers.remove(worker)
                field.kills += 1
                field.start_worker(next(turns, None))
            await asyncio.sleep(0.1)

    keeping = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
