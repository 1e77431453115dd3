"""A PgBouncer in transaction mode, configured as Supabase configures it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

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
"""
"""As ansible/files/pgbouncer_config/pgbouncer.ini.j2 of github.com/supabase/postgres."""


@contextmanager
def pgbouncer(database_url: str, folder: Path) -> Iterator[str]:
    """Run a pooler in front of a database; give the address of the database behind it."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program, "pgbouncer is missing: install it with `apt-get install pgbouncer`, as .ci/run does"
    url = make_url(database_url)
    pooled = url.set(host="127.0.0.1", port=free_port())
    folder.mkdir()
    (folder / "userlist.txt").write_text(f'"{url.username}" "{url.password}"\n')
    ini = folder / "pgbouncer.ini"
    ini.write_text(_INI.format(host=url.host, port=url.port, listen_port=pooled.port, folder=folder))
    # PgBouncer refuses to run as root.
    owner = unprivileged_owner()
    if owner:
        let_traverse(folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(tether([program, str(ini)], owner=owner), stdout=log, stderr=log)
    try:
        eventually(lambda: process.poll() is not None or _answers(pooled.port), "pgbouncer listens")
        assert process.poll() is None, (folder / "log").read_text()
        yield pooled.render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int | None) -> bool:
    """Tell whether something speaks the protocol of Postgres there: it asks a stranger for a password."""
    try:
        psycopg.connect(host="127.0.0.1", port=port, user="nobody", password="x", connect_timeout=2).close()
    except psycopg.OperationalError as error:
        return "refused" not in str(error)
    return True
