"""What the two engines have in common: one foreground child process over one folder and one port."""

import os
import secrets
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import BinaryIO, ClassVar, Final

from infra.local.errors import StackError

LOG: Final = "log"
"""File in the engine's folder with the output of its latest start."""

_POLL_S: Final = 0.03


class Engine(ABC):
    """An engine that keeps what it owns in a folder of `data_dir` and listens on 127.0.0.1:`port` only."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, data_dir: Path, port: int) -> None:
        self.folder = data_dir.resolve() / self.name
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Make the folder ready for a start, whatever state the last one left it in. Idempotent.

        Stops an engine that still runs there. Raises StackError.
        """

    @abstractmethod
    def argv(self) -> list[str]:
        """Return the command line; the engine ends when the calling process does."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether the engine answers right now."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Address for clients, password included."""

    @property
    def pid(self) -> int | None:
        """Process id, or None when the engine was not started here or has ended."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the engine. `prepare` comes before, `wait_ready` after. Call it from the main thread."""
        with self.open_log() as log:
            self._process = subprocess.Popen(
                self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        return self._process

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Return as soon as the engine answers. Raises StackError when it ends or is too slow."""
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            if self._process and self._process.poll() is not None:
                raise StackError(self.why_it_ended())
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} did not answer within {timeout_s:.0f} s; see {self.folder / LOG}"
                )
            time.sleep(_POLL_S)

    def stop(self, timeout_s: float = 8.0) -> None:
        """Shut down cleanly without waiting for clients; kill the engine if it takes longer."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the engine as a crash would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def open_log(self) -> BinaryIO:
        """Return the log file, emptied, open for writing."""
        return (self.folder / LOG).open("wb")

    def why_it_ended(self) -> str:
        """Say in a line why the engine ended: its own last word, and where there is more."""
        log = self.folder / LOG
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return f"{self.name} ended: {self._last_word(lines) or 'it said nothing'} (see {log})"

    @staticmethod
    @abstractmethod
    def _last_word(lines: list[str]) -> str | None:
        """Return the line of the log that tells why the engine ended."""

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.folder / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StackError(
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
        return file.read_text()
