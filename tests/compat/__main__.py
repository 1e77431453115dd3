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
    "test_devices",
    "test_edge_killed",
    "test_edge_stopped",
    "test_late",
    "test_many_edges",
    "test_names",
    "test_notifications",
    "test_offline",
    "test_published_contract",
    "test_reference_client",
    "test_sync",
    "test_token_life",
    "test_worker_killed",
)
"""Those of tests/e2e whose outcome depends on what edges and workers tell each other."""

_NOT_YET: Final = {
    EDGES_FROM: ("test_clients_leave_one_after_the_other_and_no_new_ones_come",),
    WORKERS_FROM: (),
}
"""By what is of the last release: tests of what that did not have yet."""

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
    deselected = " or ".join(_NOT_YET[side])
    words = [
        *(f"tests/e2e/{name}.py" for name in _TESTS),
        *(["-k", f"not ({deselected})"] if deselected else []),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words, *arguments],
        cwd=ROOT,
        env={**os.environ, side: folder},
    )
    print(f"in {time.monotonic() - began:.0f} s", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
