"""Environments that hold the wheel with one extra each, and nothing of this checkout."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_IN_THE_WHEEL: Final = ("functions", "infra", "socket_edge", "workers", "pyproject.toml", "README.md")


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment of its own, as `pip install "bbgram-chat[ROLE]"` fills it."""

    folder: Path

    @property
    def bbgram(self) -> str:
        """Return the path of the command."""
        return str(self.folder / "bin" / "bbgram")

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a `bbgram` command in an environment that has nothing but these settings."""
        env = {"PATH": os.defpath, "HOME": str(self.folder), **settings}
        return subprocess.run(
            [self.bbgram, *words], env=env, cwd=self.folder, capture_output=True, text=True, timeout=120
        )

    def pins(self) -> set[str]:
        """Return what is installed, as `NAME==VERSION`."""
        frozen = _uv("pip", "freeze", "--python", str(self.folder / "bin" / "python")).splitlines()
        return {line for line in frozen if not line.startswith("bbgram-chat")}


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy: a build leaves files behind, and would pick up those of an earlier one."""
    source = folder / "source"
    source.mkdir()
    for name in _IN_THE_WHEEL:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(path, source / name)
    options = ("--wheel", "--no-build-isolation", "--python", sys.executable)
    _uv("build", *options, "--out-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, extra: str, folder: Path) -> Installed:
    """Make an environment and install the wheel with an extra, in the versions that requirements.txt pins."""
    _uv("venv", "--python", sys.executable, str(folder))
    constraints = ("--constraint", str(ROOT / "requirements.txt"))
    _uv("pip", "install", "--python", str(folder / "bin" / "python"), *constraints, f"{wheel}[{extra}]")
    return Installed(folder)


def _uv(*words: str) -> str:
    program = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")
    assert program, "uv is missing: run `make install`"
    done = subprocess.run([program, *words, "--quiet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
