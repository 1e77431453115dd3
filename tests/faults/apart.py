"""Engines on one side of a slow link, for edges, workers and beat on the other."""

from pathlib import Path

from sqlalchemy import make_url

from infra.local.engines import Postgres, Valkey
from tests.harness.deployment import CHECKOUT, Deployment
from tests.harness.engines import Engines, free_port
from tests.harness.slow_link import FAR, NEAR, SlowLink

_LISTEN = ("127.0.0.1", NEAR)


class _Postgres(Postgres):
    """A Postgres that the far side reaches."""

    def prepare(self) -> None:
        super().prepare()
        with (self._cluster / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {FAR}/32 scram-sha-256\n")

    def argv(self) -> list[str]:
        return [*super().argv(), "-c", f"listen_addresses={','.join(_LISTEN)}"]


class _Valkey(Valkey):
    """A Valkey that the far side reaches."""

    def argv(self) -> list[str]:
        return [*super().argv(), "--bind", *_LISTEN]


class NearEngines(Engines):
    """Engines that both sides reach."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.postgres = _Postgres(data_dir, free_port())
        self.valkey = _Valkey(data_dir, free_port())


def put_far_away(chat: Deployment, link: SlowLink) -> None:
    """Start the parts of a chat on the far side from now on. Clients and engines stay on the near one."""
    chat.program = (*link.prefix, *CHECKOUT)
    chat.env["BBGRAM_HOST"] = FAR
    for setting in ("BBGRAM_DATABASE_URL", "BBGRAM_REDIS_URL"):
        chat.env[setting] = make_url(chat.env[setting]).set(host=NEAR).render_as_string(hide_password=False)
