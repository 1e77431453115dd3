"""A synchronous standby of a Postgres, which can take over when that is gone."""

import shutil
from pathlib import Path

import psycopg

from infra.local.engines.postgres import Postgres
from tests.harness.engines import free_port
from tests.harness.waiting import eventually


class Standby(Postgres):
    """A copy of a running primary that follows it. Clients find the same databases and passwords there."""

    name = "standby"

    def __init__(self, data_dir: Path, primary: Postgres) -> None:
        super().__init__(data_dir, free_port())
        self._primary = primary

    def make_synchronous(self) -> None:
        """Have every commit of the primary wait for this standby from now on. It must be ready."""
        with psycopg.connect(self._primary.url, autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            conn.execute("SELECT pg_reload_conf()")
            state = "SELECT FROM pg_stat_replication WHERE sync_state = 'sync'"
            eventually(lambda: conn.execute(state).fetchone() is not None, "the standby is synchronous")

    def promote(self) -> None:
        """Become the primary, and return once it accepts writes."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute("SELECT pg_promote()")

    def _password(self) -> str:
        file = self.folder / "password"
        if not file.exists():
            shutil.copy(self._primary.folder / "password", file)
        return super()._password()

    def _create_cluster(self) -> None:
        unfinished = self.folder / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._run(
            *("pg_basebackup", "--pgdata", str(unfinished), "--dbname", self._primary.url),
            *("--checkpoint=fast", "--write-recovery-conf"),
        )
        unfinished.rename(self._cluster)
