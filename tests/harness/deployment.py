"""Real edge, worker and beat processes with a store of their own."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
from redis import Redis
from sqlalchemy import Engine, text

from infra.local.tether import tether
from infra.settings.base import variable
from infra.settings.edge import EdgeSettings
from infra.store.profiles import NamedUser, insert_profiles
from infra.wire import names
from tests.harness.engines import Store, free_port
from tests.harness.forks import ForkedProcess, can_fork, prepare, run
from tests.harness.waiting import PATIENCE_S

CHECKOUT = (sys.executable, "-m", "infra.cli")
"""Runs `bbgram` as it is in this checkout."""
OTHER_RELEASE = (sys.executable, "-P", *CHECKOUT[1:])
"""Runs `bbgram` as it is in the folder of PYTHONPATH. Without `-P`, the current one would come first."""
EDGES_FROM = "TESTED_EDGES_FROM"
WORKERS_FROM = "TESTED_WORKERS_FROM"
"""Variables with the folder of another release whose edges, or workers, are tested (`tests.compat`)."""
SECRET = "a shared secret of the tests, long enough"
ANSWERED_S = 60.0
"""How long a test waits for an answer. An edge answers by DEADLINE_S, but may be slow to get a processor."""
SUPABASE_URL = "http://127.0.0.1:1"
DEFAULT_RATES = {
    name: field.default for name, field in EdgeSettings.model_fields.items() if name.startswith("rate_")
}
"""The default limits of an edge."""
NO_RATES = {variable(name): "0" for name in DEFAULT_RATES if not name.endswith("_burst")}
"""Here a few users on one address do what many do in production. Tests of the limits set their own."""


def user_id_of(username: str) -> str:
    """Return the user id that the tests' tokens carry for a username."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, username.casefold()))


def make_token(username: str, *, ttl_s: float = 3600, **claims: Any) -> str:
    """Sign a token shaped like Supabase's."""
    payload = {
        "sub": user_id_of(username),
        "aud": "authenticated",
        "role": "authenticated",
        "iss": f"{SUPABASE_URL}/auth/v1",
        "exp": int(time.time() + ttl_s),
        "user_metadata": {"username": username},
    }
    return jwt.encode({**payload, **claims}, SECRET, algorithm="HS256")


class Part:
    """One of our processes. It never outlives the process that runs the tests."""

    process: subprocess.Popen[bytes] | ForkedProcess

    def __init__(
        self,
        arguments: list[str],
        env: dict[str, str],
        log: Path,
        *,
        forked: bool = False,
        program: Sequence[str] = CHECKOUT,
    ) -> None:
        self._log = log
        with log.open("ab") as out:
            if forked:
                self.process = ForkedProcess(arguments, env, out.fileno(), out.fileno())
            else:
                command = tether([*program, *arguments])
                self.process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)

    @property
    def log(self) -> str:
        """Return what the process has printed so far."""
        return self._log.read_text()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze it inside the block; its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to stop and wait until it has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.process.args!r} did not stop within {PATIENCE_S:.0f} s") from None


class Edge(Part):
    """An edge and its address."""

    def __init__(
        self,
        port: int,
        env: dict[str, str],
        log: Path,
        *,
        forked: bool = False,
        program: Sequence[str] = CHECKOUT,
    ) -> None:
        super().__init__(["edge", "--port", str(port)], env, log, forked=forked, program=program)
        self.port = port
        self.url = f"http://{env.get('BBGRAM_HOST', '127.0.0.1')}:{port}"

    def readiness(self) -> dict[str, Any]:
        """Return what the edge says of itself and of the workers."""
        found: dict[str, Any] = self._get_ready().json()
        return found

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Wait until the edge is ready."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if self._get_ready().status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"the edge did not get ready:\n{self.log}")
            time.sleep(0.05)

    def _get_ready(self) -> httpx.Response:
        # Certificates, which nothing here has, would take most of the time.
        return httpx.get(f"{self.url}/readyz", verify=False)


class Deployment:
    """Edges, workers and beat on one store. Started on demand, stopped together.

    Forked ones start sooner. They share memory with each other, so do not measure it. A part whose settings
    Python reads at its start is not forked.
    """

    def __init__(self, store: Store, folder: Path, *, forked: bool = False, **settings: object) -> None:
        self.store = store
        self.program: Sequence[str] = CHECKOUT
        """What the parts run, with its first arguments; forked ones run nothing else."""
        self._forked = forked
        if self._forked:
            prepare()
        self.edges: list[Edge] = []
        self.workers: list[Part] = []
        self.beats: list[Part] = []
        self.functions: list[Part] = []
        self._folder = folder
        given = {f"BBGRAM_{name.upper()}": str(value) for name, value in settings.items()}
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BBGRAM_")},
            "BBGRAM_DATA_DIR": str(folder),
            "BBGRAM_DATABASE_URL": store.database_url,
            "BBGRAM_REDIS_URL": store.redis_url,
            "BBGRAM_SUPABASE_URL": SUPABASE_URL,
            "BBGRAM_SUPABASE_JWT_SECRET": SECRET,
            "BBGRAM_PROVISION_PROFILES": "true",
            "BBGRAM_ORIGINS": "*",
            **NO_RATES,
            **given,
        }

    def without_coverage(self) -> "Deployment":
        """Do not measure the coverage of processes started from now on: it costs them memory and time."""
        self.env = {name: value for name, value in self.env.items() if not name.startswith("COVERAGE_")}
        return self

    def _origin(self, variable: str, settings: dict[str, object]) -> dict[str, Any]:
        """Return the environment of a part, and how to run it: from this checkout, or another release."""
        env = self._env(settings)
        folder = os.environ.get(variable)
        if folder is None:
            return {"env": env, "forked": self._forked and can_fork(env), "program": self.program}
        return {"env": {**env, "PYTHONPATH": folder}, "program": OTHER_RELEASE}

    def start_edge(
        self,
        *,
        wait: bool = True,
        port: int | None = None,
        program: Sequence[str] | None = None,
        **settings: object,
    ) -> Edge:
        """Start one more edge, on a free port unless one is given, with `bbgram` unless told otherwise."""
        log = self._folder / f"edge-{len(self.edges)}.log"
        origin = self._origin(EDGES_FROM, settings)
        if program is not None:
            origin = {"env": self._env(settings), "program": program}
        edge = Edge(port or free_port(), log=log, **origin)
        self.edges.append(edge)
        if wait:
            edge.wait_ready()
        return edge

    def start_worker(self, **settings: object) -> Part:
        """Start one more worker. Events sent before it is up wait on the queue."""
        log = self._folder / f"worker-{len(self.workers)}.log"
        self.workers.append(Part(["worker"], log=log, **self._origin(WORKERS_FROM, settings)))
        return self.workers[-1]

    def start_functions(self, **settings: object) -> Part:
        """Start a worker that runs functions and sends notifications."""
        log = self._folder / f"functions-{len(self.functions)}.log"
        self.functions.append(
            Part(["worker", "--functions"], log=log, **self._origin(WORKERS_FROM, settings))
        )
        return self.functions[-1]

    def run(self, *arguments: str) -> str:
        """Run a `bbgram` command to its end; return what it printed."""
        if self._forked:
            done = run(arguments, self.env, timeout_s=120)
        else:
            command = [*CHECKOUT, *arguments]
            done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_beat(self, **settings: object) -> Part:
        """Start beat."""
        log = self._folder / f"beat-{len(self.beats)}.log"
        self.beats.append(Part(["beat"], log=log, **self._origin(WORKERS_FROM, settings)))
        return self.beats[-1]

    def start(self, *, edges: int = 1, workers: int = 1, beat: bool = True) -> "Deployment":
        """Start that many of each and wait until the edges are ready."""
        for _ in range(workers):
            self.start_worker()
        if beat:
            self.start_beat()
        for _ in range(edges):
            self.start_edge(wait=False)
        for edge in self.edges:
            edge.wait_ready()
        return self

    def stop(self) -> None:
        """Stop everything that is still running."""
        parts = [*self.edges, *self.beats, *self.workers, *self.functions]
        for part in parts:
            if part.process.poll() is None:
                part.process.send_signal(signal.SIGTERM)
        for part in parts:
            part.stop()
        self.store.disconnect()

    @property
    def engine(self) -> Engine:
        """Return the tests' engine on the deployment's database."""
        return self.store.engine(pool_size=4, timeouts=False)

    def lease_left_s(self) -> float:
        """Return how long the leases of its edges last at most, by the clock of Redis."""
        with Redis.from_url(self.store.redis_url) as redis:
            leases: Any = redis.zrange(names.LEASES_KEY, 0, -1, withscores=True)
            time: Any = redis.time()
        return float(leases[-1][1] / 1_000 - time[0] - time[1] / 1_000_000)

    def rows(self, sql: str, **params: object) -> list[Any]:
        """Run a statement and return its rows, if it has any."""
        with self.engine.begin() as conn:
            result = conn.execute(text(sql), params)
            return list(result) if result.returns_rows else []

    def _env(self, settings: dict[str, object]) -> dict[str, str]:
        return {**self.env, **{f"BBGRAM_{name.upper()}": str(value) for name, value in settings.items()}}


def show_to_everyone(chat: Deployment, username: str) -> None:
    """Let everybody who joins a chat with a user see their presence: not only those who have written."""
    with chat.engine.begin() as conn:
        conn.execute(
            text("UPDATE profiles SET show_presence = 'everyone' WHERE id = :id"),
            {"id": user_id_of(username)},
        )


def with_profile(chat: Deployment, username: str) -> str:
    """Create the profile of a user; return the username."""
    with chat.engine.begin() as conn:
        insert_profiles(conn, [NamedUser(user_id_of(username), username)])
    return username
