"""`make compat`: the end-to-end tests, with edges of the last release and our workers, and the reverse.

A roll-out has both side by side. Exits with 1 if a test fails, or if the release is not in the history.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.compat.release import ROOT, NoHistory, last_release
from tests.harness.deployment import EDGES_FROM, WORKERS_FROM

_TESTS: Final = (
    "test_devices.py",
    "test_edge_killed.py::test_clients_of_a_killed_edge_resume_on_the_next_one_with_nothing_missed",
    "test_late.py",
    "test_many_edges.py",
    "test_names.py",
    "test_notifications.py",
    "test_offline.py",
    "test_published_contract.py",
    "test_reference_client.py",
    "test_sync.py",
    "test_worker_killed.py::test_kill_of_a_worker_in_the_middle_of_2000_sends[2]",
)
"""Those of tests/e2e whose outcome depends on what edges and workers tell each other.

Of the tests that restart parts, there is one for each kind: each takes about five seconds.
"""

_CONTRACT: Final = "test_published_contract.py::test_every_event_and_ack_is_as_published"
_NOT_YET: Final[dict[str, tuple[str, ...]]] = {
    EDGES_FROM: (_CONTRACT,),
    WORKERS_FROM: (
        _CONTRACT,
        "test_sync.py::test_pages_beyond_the_ends_are_empty",
        "test_worker_killed.py::test_the_backend_is_to_hear_of_each_message_once_whenever_a_worker_is_killed",
    ),
}
"""By what is of the last release: tests of what that does not have yet, as pytest names them."""

_SIDES: Final = {
    EDGES_FROM: "edges of {version}, our workers",
    WORKERS_FROM: "our edges, workers of {version}",
}


def main(arguments: Sequence[str]) -> int:
    """Run both ways; return the exit code."""
    release = last_release()
    with tempfile.TemporaryDirectory(prefix="bbgram-release-") as folder:
        try:
            release.extract(Path(folder))
        except NoHistory as error:
            print(error, file=sys.stderr)
            return 1
        # Engines of the tests run as another user, and read our code.
        Path(folder).chmod(0o755)
        return max(_run(side, folder, release.version, arguments) for side in _SIDES)


def _run(side: str, folder: str, version: str, arguments: Sequence[str]) -> int:
    began = time.monotonic()
    print(f"{_SIDES[side].format(version=version)}:", flush=True)
    words = [f"tests/e2e/{name}" for name in _TESTS]
    # How clients reach an edge makes no difference to workers.
    words += ["-k", "not (test_reference_client and (polling or default))"]
    words += [f"--deselect=tests/e2e/{name}" for name in _NOT_YET[side]]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words, *arguments],
        cwd=ROOT,
        env={**os.environ, side: folder},
    )
    print(f"in {time.monotonic() - began:.0f} s", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
