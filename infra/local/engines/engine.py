"""What the two engines share: one foreground child process with one folder and one port."""

import os
import re
import secrets
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import BinaryIO, ClassVar, Final

import psutil

from infra.errors import CommandError
from infra.local.engines.leftovers import kill_all

LOG: Final = "log"
"""File in the engine's folder with the output since its latest start."""

_POLL_S: Final = 0.03
_PASSWORD: Final = re.compile(rb"[\w-]{8,}", re.ASCII)


class Engine(ABC):
    """An engine that keeps its data in a folder of `data_dir` and listens on 127.0.0.1:`port` only."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, data_dir: Path, port: int) -> None:
        self.folder = data_dir.resolve() / self.name
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Prepare the folder for a start, whatever state the last run left it in. Idempotent.

        Stops an engine that still runs there. Raises CommandError.
        """

    @abstractmethod
    def argv(self) -> list[str]:
        """Return the command line; the engine ends with the calling process."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether the engine answers right now."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Address for clients, password included."""

    @property
    def pid(self) -> int | None:
        """Process id, or None if the engine was not started here or has ended."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the engine, after `prepare` and before `wait_ready`. Call it from the main thread."""
        with self.open_log() as log:
            self._process = subprocess.Popen(
                self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        return self._process

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Return as soon as the engine answers. Raises CommandError if it ends or is too slow."""
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            if self._process and self._process.poll() is not None:
                raise CommandError(self.why_it_ended())
            if time.monotonic() > deadline:
                raise CommandError(
                    f"{self.name} did not answer within {timeout_s:.0f} s; see {self.folder / LOG}"
                )
            time.sleep(_POLL_S)

    def stop(self, timeout_s: float = 8.0) -> None:
        """Shut down cleanly without waiting for clients; kill the engine after `timeout_s`."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the engine, like a crash of the machine: the processes that it started end with it."""
        if self._process is not None and self._process.poll() is None:
            started = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            self._process.wait()
            kill_all(started)

    def open_log(self) -> BinaryIO:
        """Truncate the log file and open it for writing."""
        return (self.folder / LOG).open("wb")

    def why_it_ended(self) -> str:
        """Return one line: the error that ended the engine, and where its log is."""
        log = self.folder / LOG
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return f"{self.name} ended: {self._last_word(lines) or 'it logged nothing'} (see {log})"

    @staticmethod
    @abstractmethod
    def _last_word(lines: list[str]) -> str | None:
        """Return the log line that explains why the engine ended."""

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.folder / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise CommandError(
                f"{self.folder} cannot be written ({error.strerror}); "
                "make it writable or set BBGRAM_DATA_DIR to another folder"
            ) from error

    def _password(self) -> str:
        file = self.folder / "password"
        if not file.exists():
            self._make_folder()
            fresh = file.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_urlsafe(24))
            os.replace(fresh, file)
        password = file.read_bytes()
        if not _PASSWORD.fullmatch(password):
            raise CommandError(
                f"{file} is damaged; restore it, or delete {self.folder}, and with it the data in there"
            )
        return password.decode()
