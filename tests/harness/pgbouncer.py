"""A PgBouncer in transaction mode, configured as Supabase configures it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import URL, make_url

from infra.local.engines.unprivileged import let_traverse, unprivileged_owner
from infra.local.tether import tether
from tests.harness.engines import free_port
from tests.harness.waiting import eventually

_INI = """
[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/userlist.txt
pool_mode = transaction
default_pool_size = 15
ignore_startup_parameters = extra_float_digits
server_login_retry = 1
"""
"""As ansible/files/pgbouncer_config/pgbouncer.ini.j2 of github.com/supabase/postgres, and the last line."""


def pgbouncer_program() -> str | None:
    """Return where PgBouncer is installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Pooler:
    """A pooler in front of the database at `url`. Clients connect to `address`."""

    def __init__(self, url: URL, folder: Path) -> None:
        program = pgbouncer_program()
        assert program, "pgbouncer is missing: install it with `apt-get install pgbouncer`, as .ci/run does"
        self._port = free_port()
        self._folder = folder
        folder.mkdir()
        (folder / "userlist.txt").write_text(f'"{url.username}" "{url.password}"\n')
        self._write(url)
        # PgBouncer refuses to run as root.
        owner = unprivileged_owner()
        if owner:
            let_traverse(folder)
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                tether([program, str(self._ini)], owner=owner), stdout=log, stderr=log
            )

    @property
    def _ini(self) -> Path:
        return self._folder / "pgbouncer.ini"

    def _write(self, url: URL) -> None:
        self.address = url.set(host="127.0.0.1", port=self._port).render_as_string(hide_password=False)
        self._ini.write_text(
            _INI.format(host=url.host, port=url.port, listen_port=self._port, folder=self._folder)
        )

    def wait_ready(self) -> None:
        """Wait until it listens."""
        process = self._process
        eventually(lambda: process.poll() is not None or _answers(self._port), "pgbouncer listens", 20)
        assert process.poll() is None, (self._folder / "log").read_text()

    def move(self, database_url: str) -> None:
        """Stand in front of another server from now on."""
        self._write(make_url(database_url))
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Cut all connections and end."""
        self._process.terminate()
        self._process.wait(10)


@contextmanager
def pgbouncer(database_url: str, folder: Path) -> Iterator[Pooler]:
    """Run a pooler in front of a database."""
    pooler = Pooler(make_url(database_url), folder)
    try:
        pooler.wait_ready()
        yield pooler
    finally:
        pooler.stop()


def _answers(port: int | None) -> bool:
    """Tell whether something speaks the protocol of Postgres there: it asks a stranger for a password."""
    try:
        psycopg.connect(host="127.0.0.1", port=port, user="nobody", password="x", connect_timeout=2).close()
    except psycopg.OperationalError as error:
        return "refused" not in str(error)
    return True
