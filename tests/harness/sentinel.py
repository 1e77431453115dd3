"""A Valkey with a replica, and three Sentinels that promote the replica when the primary is gone."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.local.engines import Valkey
from infra.local.engines.engine import Engine
from infra.local.engines.valkey import _binary
from infra.local.tether import tether
from tests.harness.engines import free_port
from tests.harness.waiting import eventually

PRIMARY: Final = "chat"
"""The name under which the Sentinels know the servers."""
SERVER_PASSWORD: Final = "of-the-servers"
SENTINEL_PASSWORD: Final = "of-the-sentinels"
_DOWN_MS: Final = 2_000
"""A server that has not answered for this long is down."""


def _client(port: int, password: str) -> Redis:
    return Redis(
        port=port,
        password=password,
        socket_timeout=2,
        socket_connect_timeout=2,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
    )


class Server(Valkey):
    """A Valkey that may be a replica of another one."""

    def __init__(self, data_dir: Path, primary: "Server | None" = None) -> None:
        super().__init__(data_dir, free_port())
        self._primary = primary

    def prepare(self) -> None:
        """Write the configuration, unless Sentinel has changed it."""
        if self._config.exists():
            return
        self.folder.mkdir(parents=True)
        (self.folder / "password").write_text(SERVER_PASSWORD)
        super().prepare()
        with self._config.open("a") as config:
            config.write(f"masterauth {SERVER_PASSWORD}\nrepl-diskless-sync-delay 0\n")
            config.write(f"user app on >{SERVER_PASSWORD} ~* &* +@all\n")
            if self._primary is not None:
                config.write(f"replicaof 127.0.0.1 {self._primary.port}\n")

    def role(self) -> str:
        """Return `master` or `slave`, or nothing if it does not answer."""
        with suppress(RedisError), _client(self.port, SERVER_PASSWORD) as redis:
            return str(redis.info("replication")["role"])
        return ""

    def is_in_step(self) -> bool:
        """Return whether it is a replica that has all data."""
        with suppress(RedisError), _client(self.port, SERVER_PASSWORD) as redis:
            return bool(redis.info("replication").get("master_link_status") == "up")
        return False


class Sentinel(Engine):
    """One Sentinel. It runs the same program as a server."""

    name = "sentinel"
    stop_signal = signal.SIGTERM

    def __init__(self, data_dir: Path, primary: Server) -> None:
        super().__init__(data_dir, free_port())
        self._primary = primary

    def prepare(self) -> None:
        """Write the configuration, which Sentinel rewrites."""
        self._make_folder()
        (self.folder / "sentinel.conf").write_text(
            "\n".join(
                (
                    "bind 127.0.0.1",
                    f"port {self.port}",
                    f"dir {self.folder}",
                    f"requirepass {SENTINEL_PASSWORD}",
                    f"sentinel monitor {PRIMARY} 127.0.0.1 {self._primary.port} 2",
                    f"sentinel auth-pass {PRIMARY} {SERVER_PASSWORD}",
                    f"sentinel down-after-milliseconds {PRIMARY} {_DOWN_MS}",
                    f"sentinel failover-timeout {PRIMARY} 10000",
                    "",
                )
            )
        )

    def argv(self) -> list[str]:
        """Return the command line."""
        return tether([str(_binary()), str(self.folder / "sentinel.conf"), "--sentinel"], self.stop_signal)

    def is_ready(self) -> bool:
        """Return whether it knows the two other Sentinels, and the replica."""
        state = self.state()
        return state.get("num-other-sentinels") == 2 and state.get("num-slaves") == 1

    def state(self) -> dict[str, Any]:
        """Return what it knows of the primary."""
        with suppress(RedisError), _client(self.port, SENTINEL_PASSWORD) as redis:
            state: dict[str, Any] = redis.sentinel_master(PRIMARY)
            return state
        return {}

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"redis://:{SENTINEL_PASSWORD}@127.0.0.1:{self.port}"

    @staticmethod
    def _last_word(lines: list[str]) -> str | None:
        return lines[-1] if lines else None


class SentinelSet:
    """Two servers and three Sentinels, ready for a failover."""

    def __init__(self, folder: Path) -> None:
        first = Server(folder / "server-0")
        self.servers = (first, Server(folder / "server-1", first))
        self.sentinels = tuple(Sentinel(folder / f"sentinel-{number}", first) for number in range(3))

    def start(self) -> None:
        """Start everything, and wait until all know one another."""
        for engine in (*self.servers, *self.sentinels):
            engine.prepare()
            engine.start()
            if engine in self.servers:
                engine.wait_ready()
        eventually(self.servers[1].is_in_step, "the replica has all data", 30)
        for sentinel in self.sentinels:
            sentinel.wait_ready()

    def stop(self) -> None:
        """Stop everything."""
        for engine in (*self.sentinels, *self.servers):
            engine.stop()

    def url(self, *, user: str = "", options: str = "") -> str:
        """Return the address for BBGRAM_REDIS_URL."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        login = f"sentinel_password={SENTINEL_PASSWORD}{options}"
        return f"redis+sentinel://{user}:{SERVER_PASSWORD}@{hosts}/{PRIMARY}/0?{login}"

    def primary(self) -> Server | None:
        """Return the server that most Sentinels take for the primary and that takes itself for it."""
        ports = [self.sentinels[number].state().get("port") for number in range(3)]
        for server in self.servers:
            if ports.count(server.port) >= 2 and server.role() == "master":
                return server
        return None

    def wait_primary(self, server: Server, timeout_s: float = 60.0) -> None:
        """Wait until this server is the primary."""
        eventually(lambda: self.primary() is server, "the replica is promoted", timeout_s)

    @contextmanager
    def frozen(self, server: Server) -> Iterator[None]:
        """Freeze a server inside the block: its connections stay open."""
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server.pid, signal.SIGCONT)
