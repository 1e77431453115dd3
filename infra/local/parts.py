"""The parts of the local stack: how each is started, when it is ready, and in which order they stop."""

import sys
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

import msgspec

from infra.local.engines import Engine
from infra.local.engines.engine import LOG
from infra.local.ports import HOST, reachable
from infra.local.supervisor import Part
from infra.local.tether import tether

WORKERS: Final = 2
PAGE: Final = Path(__file__).parents[2] / "clients" / "web" / "dist"
"""The chat page, where it was built."""


def engine_part(engine: Engine) -> Part:
    """Return the part that runs an engine. It logs to a file; the reason why it ended is shown."""
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


def signin_part(env: Mapping[str, str], folder: Path, port: int, *options: str) -> Part:
    """Return the dev sign-in service, which serves the chat page too."""
    words = ("-m", "infra.local.signin", "--port", str(port), "--data-dir", str(folder))
    words += (*options, *(("--page", str(PAGE)) if PAGE.is_dir() else ()))
    ready = http_ok(port, "/auth/v1/.well-known/jwks.json")
    return _python("sign-in", env, words, is_ready=ready, stop_rank=3, stop_s=0.7)


def edge_part(env: Mapping[str, str], host: str, port: int) -> Part:
    """Return one edge."""
    return _bbgram(env, "edge", "--port", str(port), is_ready=http_ok(port, "/readyz", host), stop_s=3.0)


def worker_part(env: Mapping[str, str], number: int = 1) -> Part:
    """Return one of the workers."""
    return _bbgram(env, "worker", name=f"worker-{number}", stop_rank=2)


def later_parts(env: Mapping[str, str]) -> list[Part]:
    """Return what the first messages do without: other workers, beat, the worker for functions."""
    workers = [worker_part(env, number) for number in range(2, WORKERS + 1)]
    beat = _bbgram(env, "beat", stop_rank=1, stop_s=0.7)
    return [*workers, beat, _bbgram(env, "worker", "--functions", name="functions", stop_rank=2)]


def migration(env: Mapping[str, str]) -> Part:
    """Return the migrations, which run once."""
    return _bbgram(env, "migrate")


def http_ok(port: int, path: str, host: str = HOST) -> Callable[[], bool]:
    """Return a function that asks whether a GET on this machine answers 200."""
    return lambda: _get(port, path, host) is not None


def why_no_message(port: int, host: str) -> str | None:
    """Return why no message can be sent; None if the edge is ready and a worker has answered it.

    An edge of another release may not know what workers do, and does not say.
    """
    answer = _get(port, "/readyz", host)
    if answer is None:
        return "the edge is not ready"
    try:
        ready = msgspec.json.decode(answer, type=_Ready)
    except msgspec.DecodeError:
        return None
    return None if ready.workers == "answering" else ready.reason or ready.workers


class _Ready(msgspec.Struct):
    """What an edge that is ready says of its workers."""

    workers: str = "answering"
    reason: str | None = None


def _get(port: int, path: str, host: str) -> bytes | None:
    """Return the body of an answer with status 200, None for any other answer or none."""
    connection = HTTPConnection(reachable(host), port, timeout=1.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if answer.status == 200 else None
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def _bbgram(
    env: Mapping[str, str],
    *words: str,
    name: str | None = None,
    is_ready: Callable[[], bool] = lambda: True,
    stop_rank: int = 0,
    stop_s: float = 2.0,
) -> Part:
    command = ("-m", "infra.cli", *words)
    return _python(name or words[0], env, command, is_ready, stop_rank, stop_s)


def _python(
    name: str,
    env: Mapping[str, str],
    words: tuple[str, ...],
    is_ready: Callable[[], bool],
    stop_rank: int,
    stop_s: float,
) -> Part:
    return Part(
        name,
        lambda: tether([sys.executable, *words]),
        env=env,
        is_ready=is_ready,
        stop_rank=stop_rank,
        stop_s=stop_s,
    )
