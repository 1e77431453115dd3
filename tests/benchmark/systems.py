"""The measured systems: ours and the peers that do the same job, each in its own process group."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import httpx
import jwt
import msgspec
import psutil
from redis import Redis

from infra.local.signin.keys import ALGORITHM, SigningKey, load_key
from infra.local.tether import tether
from infra.store.engine import make_engine
from infra.store.profiles import NamedUser, insert_profiles
from tests.harness.deployment import CHECKOUT, Deployment, Part, user_id_of
from tests.harness.engines import Engines, Store, free_port

_PEERS = Path(__file__).parent / "peers"
_ROOT = Path(__file__).parents[2]
_READY_S = 20.0
_USERS = 10_000
_LIMITS = {
    f"rate_{what}{burst}": 1_000_000_000
    for what in ("events", "bytes", "sign_ins", "connects")
    for burst in ("", "_burst")
}
"""Limits that are checked but never reached: a few clients on one address make the load of many."""


def user_names(count: int, first: int = 0) -> list[str]:
    """Return the names of that many users, starting with number `first`."""
    return [f"user{number:05d}" for number in range(first, first + count)]


class System(Protocol):
    """A running system that clients can chat through."""

    name: str
    ports: list[int]

    def auth(self, username: str) -> str:
        """Return the JSON that `username` connects with."""

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the processes by what they are: `edge`, `worker`, `server`."""

    def stored(self) -> int:
        """Return how many messages are in the database."""

    def forget(self) -> None:
        """Delete all messages, so that no run inherits the table of the previous one."""

    def stop(self) -> None:
        """Stop the processes."""


class Issuer:
    """Signs tokens as Supabase does (ES256), and serves the key that verifies them."""

    def __init__(self, folder: Path) -> None:
        self._key: SigningKey = load_key(folder)
        jwks = msgspec.json.encode(self._key.jwks())

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(jwks)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def token(self, username: str) -> str:
        """Return an access token for `username`."""
        claims = {
            "sub": user_id_of(username),
            "aud": "authenticated",
            "role": "authenticated",
            "iss": f"{self.url}/auth/v1",
            "exp": int(time.time() + 86_400),
            "user_metadata": {"username": username},
        }
        return jwt.encode(claims, self._key.private, ALGORITHM, headers={"kid": self._key.kid})

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class Ours:
    """BB-Gram chat: edges, workers and beat."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        issuer: Issuer,
        *,
        edges: int = 1,
        workers: int = 1,
        program: Sequence[str] = CHECKOUT,
        **settings: Any,
    ) -> None:
        """`program` is what runs its parts, with its first arguments."""
        self.name = "BB-Gram"
        self._issuer = issuer
        folder.mkdir()
        # As docs/deployment.md has it: as many lanes as workers, counted over all edges.
        settings = {"lanes": max(1, workers // edges), **_LIMITS, **settings}
        self._deployment = Deployment(store, folder, supabase_url=issuer.url, **settings)
        self._deployment.program = program
        del self._deployment.env["BBGRAM_SUPABASE_JWT_SECRET"]
        self._deployment.start(edges=edges, workers=workers)
        self._make_profiles()
        self.ports = [edge.port for edge in self._deployment.edges]

    def auth(self, username: str) -> str:
        """Return a token of the user."""
        return f'{{"token":"{self._issuer.token(username)}"}}'

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return edges, workers and beat."""
        deployment = self._deployment
        return {
            "edge": _trees(deployment.edges),
            "worker": _trees(deployment.workers),
            "beat": _trees(deployment.beats),
        }

    def signal_edge(self, port: int, number: signal.Signals) -> None:
        """Send a signal to the edge on a port."""
        next(edge for edge in self._deployment.edges if edge.port == port).process.send_signal(number)

    def stored(self) -> int:
        """Return how many messages are in the database."""
        return int(self._deployment.rows("SELECT count(*) FROM messages")[0][0])

    def rows(self, sql: str, **params: object) -> list[Any]:
        """Run a statement and return its rows, if it has any."""
        return self._deployment.rows(sql, **params)

    @property
    def store(self) -> Store:
        """Return the addresses of its database and its Redis."""
        return self._deployment.store

    def forget(self) -> None:
        """Delete all chats and messages; profiles stay."""
        self._deployment.rows("TRUNCATE messages, chats, chat_members, undelivered, notifications CASCADE")

    def _make_profiles(self) -> None:
        """Create the profiles of the users; the peers need none."""
        engine = self._deployment.engine
        with engine.begin() as conn:
            insert_profiles(conn, [NamedUser(user_id_of(name), name) for name in user_names(_USERS)])
        engine.dispose()

    def stop(self) -> None:
        """Stop all processes."""
        self._deployment.stop()
        with Redis.from_url(self._deployment.store.redis_url) as redis:
            redis.flushdb()


class Peer:
    """A server of `peers/`: one process that does everything, or an edge with a worker."""

    def __init__(self, name: str, store: Store, folder: Path, commands: dict[str, list[str]]) -> None:
        self.name = name
        self._store = store
        self.ports = [free_port()]
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir()
        env = {
            **os.environ,
            "PORT": str(self.ports[0]),
            "DATABASE_URL": store.database_url.replace("+psycopg", ""),
            "REDIS_URL": store.redis_url,
        }
        for part, command in commands.items():
            with (folder / f"{part}.log").open("wb") as log:
                self._parts[part] = subprocess.Popen(
                    tether(command), env=env, cwd=_ROOT, stdout=log, stderr=subprocess.STDOUT
                )
        self._wait_ready()

    def auth(self, username: str) -> str:
        """Return the name: peers do not authenticate."""
        return f'{{"username":"{username}"}}'

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the processes."""
        return {part: _trees([process]) for part, process in self._parts.items()}

    def stored(self) -> int:
        """Return how many messages are in the database."""
        return int(self._rows("SELECT count(*) FROM messages")[0][0])

    def forget(self) -> None:
        """Delete all messages."""
        self._rows("TRUNCATE messages")

    def stop(self) -> None:
        """Stop all processes."""
        for process in self._parts.values():
            process.terminate()
        for process in self._parts.values():
            process.wait(15)

    def _rows(self, sql: str) -> list[Any]:
        engine = make_engine(self._store.database_url, schema="public")
        try:
            with engine.begin() as conn:
                result = conn.exec_driver_sql(sql)
                return list(result) if result.returns_rows else []
        finally:
            engine.dispose()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        url = f"http://127.0.0.1:{self.ports[0]}/socket.io/?EIO=4&transport=polling"
        while True:
            try:
                if httpx.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline or any(p.poll() is not None for p in self._parts.values()):
                raise RuntimeError(f"{self.name} did not get ready")
            time.sleep(0.05)


class Field:
    """Postgres and Valkey, and the systems on them: each with its own database, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._engines = Engines(folder)
        self._engines.start()
        self._issuer = Issuer(folder)
        self._count = 0
        self._stores: dict[str, Store] = {}

    def close(self) -> None:
        """Stop the engines."""
        self._issuer.close()
        self._engines.stop()

    def engine_processes(self) -> dict[str, list[psutil.Process]]:
        """Return Postgres with all its processes, and Valkey."""
        return {
            "postgres": _trees_of(self._engines.postgres.pid),
            "redis": _trees_of(self._engines.valkey.pid),
        }

    @contextmanager
    def running(self, name: str, **options: Any) -> Iterator[System]:
        """Run a system by name: `ours`, `node`, `python-socketio` or `naive split`."""
        folder = self._folder / f"run-{self._count}"
        self._count += 1
        if name not in self._stores:
            self._stores[name] = self._engines.new_store(migrated=name == "ours")
        store = self._stores[name]
        system: System
        if name == "ours":
            system = Ours(store, folder, self._issuer, **options)
        else:
            system = Peer(name, store, folder, _COMMANDS[name])
        try:
            system.forget()
            # Writes that the previous system left to the disk must not slow this one.
            os.sync()
            yield system
        finally:
            system.stop()


_COMMANDS: dict[str, dict[str, list[str]]] = {
    "node": {"server": [shutil.which("node") or "node", str(_PEERS / "node" / "server.mjs")]},
    "python-socketio": {"server": [sys.executable, "-m", "tests.benchmark.peers.monolith"]},
    "naive split": {
        "edge": [sys.executable, "-m", "tests.benchmark.peers.naive_edge"],
        "worker": [sys.executable, "-m", "tests.benchmark.peers.naive_tasks"],
    },
}


def _trees(parts: Sequence[Part | subprocess.Popen[bytes]]) -> list[psutil.Process]:
    pids = [part.process.pid if isinstance(part, Part) else part.pid for part in parts]
    return [process for pid in pids for process in _trees_of(pid)]


def _trees_of(pid: int | None) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]
