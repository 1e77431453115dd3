"""Starts `bbgram` processes as forks of one that has already imported our code.

Each of them would otherwise spend a second of CPU on imports, and half as much again where coverage is
measured. A fork is a process like any other: it has its own environment, folder, output and exit code, runs
`python -m infra.cli` from its first line, and can be killed. What Python reads before that line (PYTHONPATH,
LD_PRELOAD) it takes from the tests; start a process that needs other values in the ordinary way. Only folders
that hold nothing but a `sitecustomize.py`, which Python runs first, may be added to PYTHONPATH.

The server and its forks never outlive the process that runs the tests.
"""

import atexit
import ctypes
import gc
import importlib.util
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from infra.local.tether import PR_SET_PDEATHSIG, tether

_ROOT: Final = Path(__file__).parents[2]
_IMPORTED: Final = (
    "alembic.command",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.solo",
    "celery.worker.consumer",
    "coverage",
    "functions.run",
    "infra.cli.doctor.checks",
    "infra.cli.main",
    "infra.local.stack",
    "infra.store.migrate",
    "kombu.transport.redis",
    "picows",
    "socket_edge.app",
    "sqlalchemy.dialects.postgresql.psycopg",
    "uvloop",
    "workers.app",
    "workers.replay",
)
"""What the server imports for its forks, beside what these modules import themselves."""

_NUMBER: Final = struct.Struct("i")
_READ_AT_START: Final = ("PYTHON", "LD_")
_PATH: Final = "PYTHONPATH"
_RUN_FIRST: Final = "sitecustomize.py"


class ForkedProcess:
    """A fork that runs `bbgram`, with the methods of subprocess.Popen that the tests use."""

    def __init__(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        out: int,
        err: int,
        folder: Path | None = None,
        stdin: str = "",
    ) -> None:
        assert can_fork(env), "a fork cannot have that environment"
        self.args = ["bbgram", *words]
        self.returncode: int | None = None
        asked = {
            "words": list(words),
            "env": dict(env),
            "folder": str(folder or _ROOT),
            "first": [f"{added}/{_RUN_FIRST}" for added in _added_to_path(env)],
            "stdin": stdin,
        }
        request, ours = os.pipe()
        self._status, theirs = os.pipe()
        socket.send_fds(_server().connection, [b"."], [request, theirs, out, err])
        os.close(request)
        os.close(theirs)
        with os.fdopen(ours, "w") as pipe:
            json.dump(asked, pipe)
        self.pid = self._read_number()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._returned(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code. Raises subprocess.TimeoutExpired."""
        returned = self._returned(timeout)
        if returned is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return returned

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send it SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _returned(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._has_ended(timeout):
            self.returncode = os.waitstatus_to_exitcode(self._read_number())
            os.close(self._status)
        return self.returncode

    def _has_ended(self, timeout: float | None) -> bool:
        status = select.poll()
        status.register(self._status, select.POLLIN)
        return bool(status.poll(None if timeout is None else 1000 * timeout))

    def _read_number(self) -> int:
        data = os.read(self._status, _NUMBER.size)
        assert data, "the fork server has died"
        number: int = _NUMBER.unpack(data)[0]
        return number


def run(
    words: Sequence[str],
    env: Mapping[str, str],
    *,
    folder: Path | None = None,
    stdin: str = "",
    timeout_s: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `bbgram` to its end in a fork, and return what it printed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = ForkedProcess(words, env, out.fileno(), err.fileno(), folder, stdin)
        try:
            code = process.wait(timeout_s)
        finally:
            process.kill()
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(process.args, code, out.read(), err.read())


def prepare() -> None:
    """Start the server, which lives no longer than the thread that starts it."""
    _server()


def can_fork(env: Mapping[str, str]) -> bool:
    """Return whether a fork can have that environment: what Python reads at its start is as it is here."""
    is_alike = all(
        env.get(name) == os.environ.get(name)
        for name in env.keys() | os.environ.keys()
        if name.startswith(_READ_AT_START) and name != _PATH
    )
    has_ours = set(_path(os.environ)) <= set(_path(env))
    return is_alike and has_ours and all(map(_runs_only_first, _added_to_path(env)))


def _added_to_path(env: Mapping[str, str]) -> list[str]:
    return [folder for folder in _path(env) if folder not in _path(os.environ)]


def _path(env: Mapping[str, str]) -> list[str]:
    """Return the folders of PYTHONPATH beside that of our code."""
    return [folder for folder in env.get(_PATH, "").split(os.pathsep) if folder not in ("", str(_ROOT))]


def _runs_only_first(folder: str) -> bool:
    """Return whether Python would find nothing in this folder but what it runs first."""
    found = {path.name for path in Path(folder).iterdir()} if Path(folder).is_dir() else set()
    return found - {"__pycache__"} == {_RUN_FIRST}


@dataclass(frozen=True)
class _Server:
    process: subprocess.Popen[bytes]
    connection: socket.socket
    """The server ends when this is closed."""

    def stop(self) -> None:
        self.connection.close()
        self.process.wait()


@cache
def _server() -> _Server:
    """Start the server of this process."""
    ours, theirs = socket.socketpair()
    # Forks decide for themselves whether coverage is measured.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("BBGRAM_", "COVERAGE_"))}
    with theirs:
        process = subprocess.Popen(
            tether([sys.executable, "-m", __name__, str(theirs.fileno())]),
            env=env,
            cwd=_ROOT,
            pass_fds=[theirs.fileno()],
        )
    server = _Server(process, ours)
    atexit.register(server.stop)
    return server


def _serve(connection: socket.socket) -> dict[str, Any]:
    """Fork for each byte that arrives; return only in a fork, with what it was asked to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = os.getpid()
    while True:
        byte, fds, _, _ = socket.recv_fds(connection, 1, 4)
        if not byte:
            sys.exit()
        if os.fork() == 0:
            connection.close()
            return _supervise(server, *fds)
        for fd in fds:
            os.close(fd)


def _supervise(server: int, request: int, status: int, out: int, err: int) -> dict[str, Any]:
    """Fork once more; report the new process and how it ends. Return only in the new process."""
    _tie(server)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    supervisor = os.getpid()
    pid = os.fork()
    if pid:
        for fd in (request, out, err):
            os.close(fd)
        os.write(status, _NUMBER.pack(pid))
        os.write(status, _NUMBER.pack(os.waitpid(pid, 0)[1]))
        os._exit(0)
    _tie(supervisor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with os.fdopen(request) as pipe:
        asked: dict[str, Any] = json.load(pipe)
    os.close(status)
    for fd, target in ((out, 1), (err, 2)):
        os.dup2(fd, target)
        os.close(fd)
    return asked


def _tie(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _prepare_coverage() -> None:
    """Let coverage learn where libraries lie, which takes most of the time that its start takes."""
    from coverage import Coverage

    measured = Coverage(config_file=False, data_file=None)
    measured.start()
    measured.stop()


def _main() -> None:
    for name in _IMPORTED:
        importlib.import_module(name)
    _prepare_coverage()
    gc.collect()
    gc.freeze()
    asked = _serve(socket.socket(fileno=int(sys.argv[1])))
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["folder"])
    sys.argv[1:] = asked["words"]
    sys.orig_argv = [sys.executable, "-m", "infra.cli", *asked["words"]]
    if asked["stdin"]:
        _read_from(asked["stdin"])
    from coverage import process_startup

    process_startup()
    for number, script in enumerate(asked["first"]):
        _run(script, f"sitecustomize_{number}")
    try:
        runpy.run_module("infra.cli", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        _end(end.code)


def _run(script: str, name: str) -> None:
    """Run a file as a module of this name."""
    spec = importlib.util.spec_from_file_location(name, script)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _read_from(text: str) -> None:
    """Let the standard input hold this text."""
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)
        os.dup2(file.fileno(), 0)


def _end(code: object) -> None:
    """End as Python does, but free nothing: what a fork frees it has to copy first."""
    if not isinstance(code, int | None):
        raise SystemExit(code)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    _main()
