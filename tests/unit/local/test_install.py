"""An installation shows how far it is, and says in one line why it failed."""

import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import install

SCRIPT = Path(install.__file__)


def run(file: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program as the Makefile runs pip."""
    command = [sys.executable, "-I", str(SCRIPT), str(file), "Installing it (a minute)"]
    return subprocess.run([*command, sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def test_what_the_program_prints_goes_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "build" / "log"
    done = run(file, "import sys; print('out'); print('err', file=sys.stderr)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Installing it (a minute) ...\n", "")
    assert set(file.read_text().split()) == {"out", "err"}


def test_a_failure_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    done = run(tmp_path / "log", "import sys; sys.exit('first\\nERROR: no such thing')")
    assert done.returncode == 1
    assert done.stderr == f"Installing it failed: ERROR: no such thing (details: {tmp_path / 'log'})\n"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("")
    done = run(tmp_path / "build" / "log", "")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "make this folder writable" in done.stderr


NO_NETWORK = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)': /simple/celery/
ERROR: Could not find a version that satisfies the requirement celery==5.7.0 (from versions: none)
ERROR: No matching distribution found for celery==5.7.0
"""


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (NO_NETWORK, "the package index cannot be reached"),
        ("npm error code ENOTFOUND\nnpm error network request failed", "the package index cannot be reached"),
        ("npm error code EAI_AGAIN", "the package index cannot be reached"),
        (
            "SSLError(SSLCertVerificationError(1, 'self-signed certificate'))",
            "the package index cannot be reached",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "the disk is full",
        ),
        ("PermissionError: [Errno 13] Permission denied: '/opt/x'", "a folder cannot be written"),
        ("OSError: [Errno 30] Read-only file system: '.venv'", "a folder cannot be written"),
        (
            "The virtual environment was not created successfully because ensurepip is not\navailable.",
            "this Python",
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
            "a package is not the one",
        ),
        (
            "ERROR: No matching distribution found for picows==2.3.1",
            "a package does not exist for this Python",
        ),
        ("something\nerror: it broke\nbye", "error: it broke"),
        ("", "it printed nothing"),
    ],
)
def test_what_went_wrong_is_said_in_our_words(output: str, told: str) -> None:
    assert install.why(output).startswith(told)
    assert "\n" not in install.why(output)


@pytest.mark.parametrize(
    ("output", "state"),
    [
        ("", ""),
        ("Collecting a==1\n  Using cached a.whl\nIgnoring b: markers\nCollecting c==1\n", "fetched 3 of 4"),
        (
            "Collecting a==1\nWARNING: Retrying (Retry(total=4)) after connection broken",
            "no answer, trying again",
        ),
        ("Collecting a==1\nInstalling collected packages: a, b\n", "unpacked 0 of 4"),
    ],
)
def test_the_progress_follows_what_pip_prints(tmp_path: Path, output: str, state: str) -> None:
    (tmp_path / "log").write_text(output)
    assert install.Progress(tmp_path / "log", 4).now() == state
