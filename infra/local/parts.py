"""The parts of the local stack: what is started, how one sees that it is ready, what is stopped first."""

import os
import sys
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from infra.local.engines import Engine
from infra.local.engines.engine import LOG
from infra.local.ports import HOST
from infra.local.supervisor import Part
from infra.local.tether import tether

WORKERS: Final = 2


def engine_part(engine: Engine) -> Part:
    """Return the part that runs an engine; its log is a file, and its last words are shown."""
    return Part(
        engine.name,
        engine.argv,
        prepare=engine.prepare,
        is_ready=engine.is_ready,
        why_it_ended=engine.why_it_ended,
        log=engine.folder / LOG,
        stop_signal=engine.stop_signal,
        stop_rank=4,
    )


def signin_part(folder: Path, port: int) -> Part:
    """Return the dev sign-in service."""
    words = ("-m", "infra.local.signin", "--port", str(port), "--data-dir", str(folder))
    ready = http_ok(port, "/auth/v1/.well-known/jwks.json")
    return _python("sign-in", folder, words, is_ready=ready, stop_rank=3, stop_s=0.7)


def edge_part(folder: Path, port: int) -> Part:
    """Return one edge."""
    return _bbgram(folder, "edge", "--port", str(port), is_ready=http_ok(port, "/readyz"), stop_s=3.0)


def worker_parts(folder: Path) -> list[Part]:
    """Return beat, the workers, and one more for functions."""
    beat = _bbgram(folder, "beat", stop_rank=1, stop_s=0.7)
    workers = [
        _bbgram(folder, "worker", name=f"worker-{number}", stop_rank=2) for number in range(1, WORKERS + 1)
    ]
    functions = _bbgram(folder, "worker", "--functions", name="functions", stop_rank=2)
    return [beat, *workers, functions]


def migration(folder: Path) -> Part:
    """Return the migrations, which run once."""
    return _bbgram(folder, "migrate")


def http_ok(port: int, path: str) -> Callable[[], bool]:
    """Return what tells whether a GET on this machine answers 200."""

    def ask() -> bool:
        connection = HTTPConnection(HOST, port, timeout=1.0)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    return ask


def _bbgram(
    folder: Path,
    *words: str,
    name: str | None = None,
    is_ready: Callable[[], bool] = lambda: True,
    stop_rank: int = 0,
    stop_s: float = 2.0,
) -> Part:
    command = ("-m", "infra.local.cli", *words)
    return _python(name or words[0], folder, command, is_ready, stop_rank, stop_s)


def _python(
    name: str,
    folder: Path,
    words: tuple[str, ...],
    is_ready: Callable[[], bool],
    stop_rank: int,
    stop_s: float,
) -> Part:
    env = {**os.environ, "BBGRAM_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    return Part(
        name,
        lambda: tether([sys.executable, *words]),
        env=env,
        is_ready=is_ready,
        stop_rank=stop_rank,
        stop_s=stop_s,
    )
