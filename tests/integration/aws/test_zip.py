"""functions.zip holds what the functions import, and nothing of Celery or Socket.IO."""

import ast
import importlib.util
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.integration.aws.conftest import ROOT

BUILD = ROOT / "infra" / "deploy" / "aws" / "build.py"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def archive(packaged: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(ROOT / "build" / "functions.zip") as archive:
        yield archive


@pytest.fixture(scope="module")
def names(archive: zipfile.ZipFile) -> set[str]:
    return set(archive.namelist())


@pytest.fixture(scope="module")
def packages(names: set[str]) -> set[str]:
    return {name.split("/")[0].removesuffix(".py").split(".")[0] for name in names}


def test_it_holds_the_functions(names: set[str]) -> None:
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "functions").rglob("*.py")}
    assert "functions/aws/handlers.py" in ours
    assert ours <= names


def test_it_holds_nothing_of_the_others(names: set[str], packages: set[str]) -> None:
    assert not packages & {"alembic", "celery", "engineio", "kombu", "socket_edge", "socketio", "workers"}
    assert not {name for name in names if name.startswith(("infra/local", "infra/deploy"))}
    assert not {name for name in names if name.endswith((".pyc", "/RECORD"))}


def test_whatever_our_modules_import_is_in_it(
    archive: zipfile.ZipFile, names: set[str], packages: set[str]
) -> None:
    for name in sorted(names):
        if not name.startswith(("functions/", "infra/")):
            continue
        for module in imported(archive.read(name).decode()):
            top = module.split(".")[0]
            if top in {"functions", "infra"}:
                path = module.replace(".", "/")
                assert {f"{path}.py", f"{path}/__init__.py"} & names, f"{name} imports {module}"
            else:
                assert top in packages | sys.stdlib_module_names, f"{name} imports {module}"


def test_its_libraries_are_for_python_3_13_on_arm64(names: set[str]) -> None:
    binaries = {name for name in names if name.endswith(".so")}
    assert binaries
    assert not {
        name for name in binaries if "x86_64" in name or ("cpython-3" in name and "cpython-313" not in name)
    }


def test_the_same_sources_give_the_same_bytes(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    for number in range(2):
        monkeypatch.setattr(build, "ZIP", tmp_path / str(number) / "functions.zip")
        copies = {}
        for name, path in build.our_files().items():
            copy = tmp_path / f"{number}-{name.replace('/', '-')}"
            copy.write_bytes(path.read_bytes())
            copies[name] = copy
        build.write(dict(sorted(copies.items(), reverse=bool(number))))
        written.append(build.ZIP.read_bytes())
    assert written[0] == written[1]


def imported(source: str) -> Iterator[str]:
    """Yield the modules that are imported when the source runs, unlike those for type checkers only."""
    for node in runs(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
            yield node.module


def runs(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == "TYPE_CHECKING"
        ):
            continue
        yield child
        yield from runs(child)
