"""Runs a program that installs something: shows how far it is, and says in one line why it failed.

The Makefile runs this file as a script before anything is installed, so it needs nothing but Python:
`python infra/local/install.py FILE "Installing the packages" pip install -r requirements.txt`. FILE
gets what the program prints.
"""

import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

_POLL_S: Final = 0.2
_LINE_EVERY_S: Final = 5.0
"""How often a line is printed where a line cannot be rewritten."""

_REASONS: Final = (
    (r"No space left on device|ENOSPC", "the disk is full; free some space, then run it again"),
    (
        r"Read-only file system|Permission denied|EACCES|EROFS|EPERM",
        "a folder cannot be written; make it writable, or work on a copy that is",
    ),
    (
        r"ensurepip",
        "this Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv",
    ),
    (
        r"DO NOT MATCH THE HASHES|EINTEGRITY",
        "a package is not the one that is pinned; a proxy or mirror may have replaced it, so do not use it",
    ),
    (
        r"Failed to establish|name resolution|Name or service not known|nodename nor servname|Max retries|"
        r"unreachable|Time-?out|timed out|ProxyError|SSLError|CERTIFICATE_VERIFY|connection broken|"
        r"Connection (?:reset|refused|aborted)|ENOTFOUND|ECONN|ETIMEDOUT|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH",
        "the package index cannot be reached; check the network and the proxy, then run it again",
    ),
    (
        r"No matching distribution|Failed building|Failed to build|subprocess-exited-with-error",
        "a package does not exist for this Python and system; try another Python: make run PYTHON=python3.12",
    ),
)
"""What the words of pip, venv and npm mean; the first that fits wins."""


class Progress:
    """Reads what a running installation prints, and tells how far it is."""

    def __init__(self, file: Path, packages: int) -> None:
        self._file = file
        self._packages = packages
        self._before = _installed()

    def now(self) -> str:
        """Return what is going on, in a few words; empty if the program does not say."""
        text = self._file.read_text(errors="replace")
        if "Installing collected packages" in text:
            done = min(max(_installed() - self._before, 0), self._packages)
            return f"unpacked {done} of {self._packages}"
        if text.rstrip().rpartition("\n")[2].startswith("WARNING: Retrying"):
            return "no answer, trying again"
        done = len(re.findall(r"^(?:Collecting|Requirement already|Ignoring) ", text, re.MULTILINE))
        return f"fetched {min(done, self._packages)} of {self._packages}" if done and self._packages else ""


class Display:
    """Shows one line that is rewritten on a terminal, and printed now and then elsewhere."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began_at = self._shown_at = time.monotonic()
        self._rewrites = sys.stdout.isatty()
        self._last = ""
        print(f"{title} ...", end="" if self._rewrites else "\n", flush=True)

    def show(self, state: str) -> None:
        """Show a state, if it is time to."""
        now = time.monotonic()
        if self._rewrites:
            self._rewrite(f"{self._title} ... {state}{', ' if state else ''}{now - self._began_at:.0f} s")
        elif now - self._shown_at >= _LINE_EVERY_S:
            self._shown_at = now
            print(f"  {state or 'still running'}, {now - self._began_at:.0f} s", flush=True)

    def end(self, word: str) -> None:
        """Leave the line with its last word."""
        took_s = time.monotonic() - self._began_at
        if self._rewrites:
            self._rewrite(f"{self._title} ... {word}, {took_s:.0f} s")
            print(flush=True)

    def _rewrite(self, line: str) -> None:
        if line != self._last:
            print(f"\r{line:<{len(self._last)}}", end="", flush=True)
            self._last = line


def why(output: str) -> str:
    """Return what the output of a failed installation means, and what to do about it."""
    for pattern, meaning in _REASONS:
        if re.search(pattern, output):
            return meaning
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it printed nothing"])[-1]


def install(file: Path, title: str, command: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        out = file.open("wb")
    except OSError as error:
        print(f"{file} cannot be written ({error.strerror}); make this folder writable", file=sys.stderr)
        return 1
    progress, display = Progress(file, sum(_pinned(command))), Display(title)
    with out, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as process:
        try:
            while process.poll() is None:
                display.show(progress.now())
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_S)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            display.end("stopped")
            return 128 + signal.SIGINT
    display.end("failed" if process.returncode else "done")
    if process.returncode:
        what = title.partition(" (")[0]
        print(f"{what} failed: {why(file.read_text(errors='replace'))} (details: {file})", file=sys.stderr)
    return process.returncode


def _pinned(command: Sequence[str]) -> Iterator[int]:
    """Yield how many packages each requirements file of the command pins."""
    for option, file in pairwise(command):
        if option == "-r":
            yield len(re.findall(r"^\S+==", Path(file).read_text(), re.MULTILINE))


def _installed() -> int:
    """Return how many packages this Python has."""
    return len(list(Path(sysconfig.get_path("purelib")).glob("*.dist-info")))


if __name__ == "__main__":
    sys.exit(install(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
