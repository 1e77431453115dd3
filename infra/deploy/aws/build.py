"""Builds build/functions.zip: the functions and what they import, for Python 3.13 on arm64.

It also holds the package in `BBGRAM_JOBS`; build/jobs.json says when its jobs run. `make package` runs this.
The same sources, requirements and zlib give the same bytes.
"""

import hashlib
import importlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[3]
ZIP: Final = ROOT / "build" / "functions.zip"
JOBS: Final = ROOT / "build" / "jobs.json"

OURS: Final = (
    "functions/**/*.py",
    "infra/__init__.py",
    "infra/logs.py",
    "infra/metrics/__init__.py",
    "infra/metrics/common.py",
    "infra/metrics/registry.py",
    "infra/presence.py",
    "infra/redis_address.py",
    "infra/redis_client.py",
    "infra/settings/*.py",
    "infra/store/*.py",
    "infra/version.py",
    "infra/wire/*.py",
)
UNUSED: Final = frozenset({"infra/store/migrate.py", "infra/wire/serializer.py"})
"""Our modules that import Alembic or kombu."""
UNUSED_SUFFIXES: Final = (".c", ".h", ".pxd", ".pyc", ".pyi", ".pyx")
UNUSED_FOLDERS: Final = frozenset({"__pycache__", "bin", "sboms", "test", "tests"})
INSTALL_RECORDS: Final = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_build.json"})
"""What uv records about an installation. It differs between machines."""
LOCK: Final = ".lock"
"""What uv leaves in the folder that it installs into."""
FORBIDDEN: Final = frozenset({"alembic", "celery", "engineio", "kombu", "socket_edge", "socketio", "workers"})

PLATFORM: Final = "aarch64-manylinux_2_28"
UNZIPPED_BYTES_MAX: Final = 250 * 1024 * 1024
"""Lambda's limit."""
DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip file can hold."""


def main() -> None:
    """Build the zip and print its size and hash. Exits with a message if Lambda would not accept it."""
    with tempfile.TemporaryDirectory() as folder:
        libraries = Path(folder)
        install(libraries)
        package, jobs = own_jobs()
        own = package_files(package)
        files = {**library_files(libraries), **our_files()}
        if own.keys() & files.keys():
            sys.exit(f"BBGRAM_JOBS is wrong: {package} has the name of a package that the functions need")
        files |= own
        forbidden = FORBIDDEN & {name.split("/")[0].removesuffix(".py") for name in files}
        if forbidden:
            sys.exit(f"functions.zip must not hold {', '.join(sorted(forbidden))}")
        unzipped = sum(path.stat().st_size for path in files.values())
        if unzipped > UNZIPPED_BYTES_MAX:
            sys.exit(f"functions.zip has {unzipped:,} bytes unzipped, Lambda allows {UNZIPPED_BYTES_MAX:,}")
        write(files)
    JOBS.write_text(json.dumps({"package": package, "jobs": jobs}, indent=2) + "\n")
    digest = hashlib.sha256(ZIP.read_bytes()).hexdigest()
    print(f"{ZIP.relative_to(ROOT)}: {ZIP.stat().st_size / 1e6:.1f} MB, {unzipped / 1e6:.1f} MB unzipped")
    print(f"sha256 {digest}")


def install(folder: Path) -> None:
    """Install the libraries for Lambda. Only http-ece is built from source; it is pure Python."""
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    requirements = [
        "--requirement",
        str(ROOT / "requirements-functions.txt"),
        "--require-hashes",
        "--no-deps",
    ]
    options = ["--no-build-isolation", "--only-binary", ":all:", "--no-binary", "http-ece"]
    target = ["--target", str(folder), "--python-version", "3.13", "--python-platform", PLATFORM]
    subprocess.run([*install, *requirements, *options, *target], check=True)


def library_files(folder: Path) -> dict[str, Path]:
    """Return the files of the libraries that a running function may need, by their names in the zip."""
    return {str(path.relative_to(folder)): path for path in _files(folder) if _is_needed(path, folder)}


def our_files() -> dict[str, Path]:
    """Return our own modules, by their names in the zip."""
    names = {str(path.relative_to(ROOT)) for pattern in OURS for path in ROOT.glob(pattern)}
    return {name: ROOT / name for name in names - UNUSED}


def own_jobs() -> tuple[str, list[dict[str, Any]]]:
    """Return the package in `BBGRAM_JOBS` and when its jobs run. Exits with a message if it is wrong."""
    # This script is not run as a module of the project.
    sys.path.insert(0, str(ROOT))
    from functions.schedule import own_jobs
    from infra.settings.base import SettingsError
    from infra.settings.jobs import JobSettings

    try:
        settings = JobSettings.load()
        jobs = [own.job for own in own_jobs(settings).values()]
    except SettingsError as error:
        sys.exit(str(error))
    return settings.jobs or "", [
        {"name": job.name, "cron": job.cron, "zone": job.zone, "late_s": job.late_s} for job in jobs
    ]


def package_files(package: str) -> dict[str, Path]:
    """Return the files of the outermost package, or the one module, by their names in the zip."""
    if not package:
        return {}
    outermost = package.split(".")[0]
    place = Path(importlib.import_module(outermost).__file__ or "")
    if place.name != "__init__.py":
        return {f"{outermost}.py": place}
    folder = place.parent
    return {
        f"{outermost}/{path.relative_to(folder)}": path for path in _files(folder) if _is_needed(path, folder)
    }


def write(files: dict[str, Path]) -> None:
    """Write the zip with sorted names, and the same date and mode for all files."""
    ZIP.parent.mkdir(exist_ok=True)
    partial = ZIP.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, DATE)
            info.create_system = 3  # Unix, otherwise the mode is ignored
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, files[name].read_bytes(), compresslevel=6)
    shutil.move(partial, ZIP)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _is_needed(path: Path, folder: Path) -> bool:
    *folders, name = path.relative_to(folder).parts
    is_record = bool(folders) and folders[0].endswith(".dist-info") and name in INSTALL_RECORDS
    if is_record or path == folder / LOCK:
        return False
    return not (path.suffix in UNUSED_SUFFIXES or UNUSED_FOLDERS.intersection(folders))


if __name__ == "__main__":
    main()
