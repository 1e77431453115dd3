"""Builds build/functions.zip: the functions and what they import, for Python 3.13 on arm64.

`make package` runs it. The same sources and requirements give the same bytes, given the same zlib.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
ZIP: Final = ROOT / "build" / "functions.zip"

OURS: Final = (
    "functions/**/*.py",
    "infra/__init__.py",
    "infra/logs.py",
    "infra/presence.py",
    "infra/settings/*.py",
    "infra/store/*.py",
    "infra/wire/*.py",
)
NOT_NEEDED: Final = frozenset({"infra/store/migrate.py", "infra/wire/serializer.py"})
"""Of our own: what imports Alembic or kombu."""
NOISE: Final = (".c", ".h", ".pxd", ".pyc", ".pyi", ".pyx")
NOISY: Final = frozenset({"__pycache__", "bin", "sboms", "test", "tests"})
RECORDS: Final = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"})
"""What pip notes about an installation; it differs from machine to machine."""
FORBIDDEN: Final = frozenset({"alembic", "celery", "engineio", "kombu", "socket_edge", "socketio", "workers"})

PLATFORMS: Final = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
LIMIT_BYTES: Final = 250 * 1024 * 1024
"""What Lambda takes, unzipped."""
DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The first that a zip file can hold."""


def main() -> None:
    """Build, and print size and hash. Ends with a message when the zip would not do."""
    with tempfile.TemporaryDirectory() as folder:
        libraries = Path(folder)
        install(libraries)
        files = {**theirs(libraries), **ours()}
        forbidden = FORBIDDEN & {name.split("/")[0].removesuffix(".py") for name in files}
        if forbidden:
            sys.exit(f"functions.zip must not hold {', '.join(sorted(forbidden))}")
        unzipped = sum(path.stat().st_size for path in files.values())
        if unzipped > LIMIT_BYTES:
            sys.exit(f"functions.zip has {unzipped:,} bytes unzipped, Lambda takes {LIMIT_BYTES:,}")
        write(files)
    digest = hashlib.sha256(ZIP.read_bytes()).hexdigest()
    print(f"{ZIP.relative_to(ROOT)}: {ZIP.stat().st_size / 1e6:.1f} MB, {unzipped / 1e6:.1f} MB unzipped")
    print(f"sha256 {digest}")


def install(folder: Path) -> None:
    """Install the libraries for Lambda. Only http-ece comes as source; it is pure Python, built here."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    what = ["--requirement", str(ROOT / "requirements-functions.txt"), "--require-hashes", "--no-deps"]
    how = ["--no-compile", "--no-build-isolation", "--only-binary", ":all:", "--no-binary", "http-ece"]
    where = ["--target", str(folder), "--implementation", "cp", "--python-version", "3.13"]
    platforms = [option for name in PLATFORMS for option in ("--platform", name)]
    subprocess.run([*pip, "install", "--quiet", *what, *how, *where, *platforms], check=True)


def theirs(folder: Path) -> dict[str, Path]:
    """Return the files of libraries that a running function may read, by their names in the zip."""
    return {str(path.relative_to(folder)): path for path in _files(folder) if not _is_noise(path, folder)}


def ours() -> dict[str, Path]:
    """Return our own modules in the same way."""
    names = {str(path.relative_to(ROOT)) for pattern in OURS for path in ROOT.glob(pattern)}
    return {name: ROOT / name for name in names - NOT_NEEDED}


def write(files: dict[str, Path]) -> None:
    """Write the zip: sorted names, one date, one mode."""
    ZIP.parent.mkdir(exist_ok=True)
    partial = ZIP.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, DATE)
            info.create_system = 3  # Unix, so that the mode counts
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, files[name].read_bytes(), compresslevel=9)
    shutil.move(partial, ZIP)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _is_noise(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    in_noisy = bool(NOISY & set(parts[:-1]))
    return in_noisy or path.suffix in NOISE or (parts[0].endswith(".dist-info") and path.name in RECORDS)


if __name__ == "__main__":
    main()
