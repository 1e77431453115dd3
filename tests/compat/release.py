"""The last release, taken from the history of this repository."""

import subprocess
import tarfile
import tomllib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_FILE: Final = Path(__file__).with_name("last_release.toml")
_PACKAGES: Final = ("functions", "infra", "socket_edge", "workers")


class NoHistory(Exception):
    """The release is not in this checkout. The message is one line: what is missing, and what to do."""


@dataclass(frozen=True)
class Release:
    """A release, and the commit that it was cut from."""

    version: str
    commit: str

    def extract(self, folder: Path, *paths: str) -> None:
        """Write its packages, or what else of it is named, into an empty folder. Raises NoHistory."""
        git = ["git", "-C", str(ROOT), "archive", "--format=tar", self.commit, *(paths or _PACKAGES)]
        try:
            done = subprocess.run(git, capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NoHistory(
                f"release {self.version} ({self.commit[:7]}) is not in the history of this checkout: "
                "clone it whole, or run `git fetch --unshallow`"
            ) from error
        with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")


def last_release() -> Release:
    """Return the release that last_release.toml names."""
    return Release(**tomllib.loads(_FILE.read_text()))
