"""Starts the dev sign-in service in a process of its own, as the local stack does."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.tether import tether
from infra.settings.edge import EdgeSettings

ROOT = Path(__file__).parents[3]
API_KEY = "any-publishable-key"


@dataclass(frozen=True)
class RunningService:
    """A service that accepts connections at `url`."""

    url: str
    data_dir: Path

    @property
    def auth_url(self) -> str:
        """Where the paths of Supabase Auth begin; also the issuer of the tokens."""
        return f"{self.url}/auth/v1"

    def edge_settings(self, **changes: Any) -> EdgeSettings:
        """Return the settings of an edge that trusts this service."""
        values = {
            "redis_url": "redis://127.0.0.1",
            "supabase_url": self.url,
            "supabase_jwt_secret": None,
            **changes,
        }
        return EdgeSettings(**values)


@contextmanager
def running_service(data_dir: Path, *options: str) -> Iterator[RunningService]:
    """Run the service, without a database, until the block ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BBGRAM_")}
    command = tether([sys.executable, "-m", "infra.local.signin", "--data-dir", str(data_dir), *options])
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            announced = process.stdout.readline().split()
            assert announced, "the service did not start"
            yield RunningService(announced[-1].removesuffix("/auth/v1"), data_dir)
        finally:
            process.terminate()
            process.wait(10)
