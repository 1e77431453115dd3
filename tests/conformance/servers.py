"""The two kinds of server that must behave alike."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import httpx

from infra.local.tether import tether
from tests.harness.deployment import make_token
from tests.harness.engines import free_port
from tests.harness.waiting import eventually

Expected = TypeVar("Expected")


@dataclass(frozen=True)
class Server:
    """Where to connect to, and as whom."""

    kind: Literal["edge", "stock"]
    url: str

    def auth(self, username: str, *, ttl_s: float = 3600) -> dict[str, str]:
        """Return the payload that a client with that username sends with CONNECT."""
        return {"token": make_token(username, ttl_s=ttl_s)}

    def expected(self, *, edge: Expected, stock: Expected) -> Expected:
        """Return what this server does where the two differ on purpose."""
        return edge if self.kind == "edge" else stock


@contextmanager
def stock_server(folder: Path, **settings: float) -> Iterator[Server]:
    """Run tests.conformance.stock with these options, in a process of its own."""
    port = free_port()
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    log = folder / "stock.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            tether([sys.executable, "-m", "tests.conformance.stock", f"--port={port}", *options]),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_ready(process, url, log)
        yield Server("stock", url)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            httpx.get(url, verify=False)
        except httpx.TransportError:
            return False
        return True

    eventually(answers, f"the stock server answers; see {log}")
