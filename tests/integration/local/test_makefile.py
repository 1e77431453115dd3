"""`make` says at once what is missing, names commands that work, and makes a stale environment anew."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOLS = ("sh", "cat", "rm", "mv", "touch", "expr", "getconf")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the Makefile and what it runs first; its path has a space."""
    folder = tmp_path / "a folder"
    (folder / "infra" / "local").mkdir(parents=True)
    for name in ("Makefile", "infra/local/install.py"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "bin").mkdir()
    for tool in TOOLS:
        (folder / "bin" / tool).symlink_to(shutil.which(tool) or "/nowhere")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    """Make a program that is found in this folder."""
    file = folder / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make with nothing on the PATH but `bin`."""
    env = {"PATH": str(folder / "bin"), "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        [shutil.which("make") or "make", *words], cwd=folder, env=env, capture_output=True, text=True
    )


def first_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the line before make's own last word."""
    assert result.returncode == 2, result.stdout
    first, *others = result.stderr.splitlines()
    assert all(line.startswith("make: ***") for line in others), result.stderr
    return first


OLD = '[ "$1" = -V ] && echo Python 3.9.18; [ "$1" = -V ]'


@pytest.mark.parametrize("target", ["run", "install", "test"])
def test_a_python_that_is_too_old_is_named_with_one_that_is_not(folder: Path, target: str) -> None:
    program(folder, "python3", OLD)
    for needed in ("pgbouncer", "caddy"):
        program(folder, needed, "")
    program(folder, "python3.14", "echo no such version is set; exit 127")
    program(folder, "python3.12", f'exec {sys.executable} "$@"')
    line = first_line(make(folder, target))
    assert line == (
        "Python 3.11 or newer is needed, and Python 3.9.18 is too old: "
        f"run it with another one: make {target} PYTHON=python3.12"
    )


@pytest.mark.parametrize("python", ["python3", "/nowhere/python3"])
def test_a_python_that_is_not_here_is_named(folder: Path, python: str) -> None:
    assert first_line(make(folder, "run", f"PYTHON={python}")) == (
        f"Python 3.11 or newer is needed, and {python} cannot be run: install a newer one"
    )


def test_the_tests_ask_for_the_pooler_first(folder: Path) -> None:
    line = first_line(make(folder, "test", "SBIN="))
    assert (
        line
        == "make test needs pgbouncer, which was not found; on Debian and Ubuntu: apt-get install pgbouncer"
    )


@pytest.mark.parametrize("node", [None, "exit 1"])
def test_node_is_asked_for_when_it_is_missing_or_old(folder: Path, node: str | None) -> None:
    if node:
        program(folder, "node", node)
    js = folder / "tests" / "e2e" / "js"
    js.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        (js / name).touch()
    line = first_line(make(folder, "tests/e2e/js/node_modules/.stamp"))
    assert line.endswith("needs Node.js 20.19 or newer, with npm: install it")


@pytest.mark.parametrize("node", [None, "exit 1"])
def test_without_node_one_line_says_what_the_chat_page_needs(folder: Path, node: str | None) -> None:
    if node:
        program(folder, "node", node)
    result = make(folder, "page")
    assert result.returncode == 0
    assert result.stdout == (
        "To see the chat page, install Node.js 20.19 or newer, with npm, and run this again; "
        "the chat starts without it\n"
    )


def test_the_chat_page_is_built_once_and_again_after_a_change(folder: Path) -> None:
    program(folder, "python3", f'exec {sys.executable} "$@"')
    program(folder, "node", "exit 0")
    program(folder, "npm", '[ "$1" = ci ] && mkdir -p node_modules || mkdir -p dist')
    (folder / "bin" / "mkdir").symlink_to(shutil.which("mkdir") or "/nowhere")
    page, client = (folder / "clients" / name for name in ("web", "typescript"))
    sources = [page / "package.json", page / "package-lock.json", page / "src" / "App.tsx"]
    for source in (*sources, page / "src" / "chats" / "List.tsx", client / "src" / "index.ts"):
        source.parent.mkdir(parents=True, exist_ok=True)
        source.touch()
    assert "Building the chat page" in make(folder, "page").stdout
    assert make(folder, "page").stdout == ""
    for source in (page / "src" / "chats" / "List.tsx", client / "src" / "index.ts"):
        later = (page / "dist" / ".stamp").stat().st_mtime + 1
        os.utime(source, (later, later))
        result = make(folder, "page")
        assert "Building the chat page" in result.stdout
        assert "Node.js" not in result.stdout
        os.utime(page / "dist" / ".stamp", (later + 1, later + 1))


def test_a_chat_page_that_cannot_be_built_keeps_nothing_from_starting(folder: Path) -> None:
    program(folder, "python3", f'exec {sys.executable} "$@"')
    program(folder, "node", "exit 0")
    program(folder, "npm", "echo ENOTFOUND; exit 1")
    (folder / "clients" / "web").mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        (folder / "clients" / "web" / name).touch()
    result = make(folder, "page")
    assert result.returncode == 0
    assert "the package index cannot be reached" in result.stdout
    assert "The chat page could not be built; the chat starts without it" in result.stdout


@pytest.mark.parametrize(
    ("state", "stays"), [("", True), ("moved", False), ("python gone", False), ("other python", False)]
)
def test_an_environment_that_cannot_work_is_made_anew(folder: Path, state: str, stays: bool) -> None:
    venv = folder / ".venv" / "bin"
    venv.mkdir(parents=True)
    made = venv.parent / ".made"
    made.write_text(str(folder if state != "moved" else folder / "elsewhere"))
    if state != "python gone":
        (venv / "python").write_text("#!/bin/sh\necho Python 3.12.1\n")
        (venv / "python").chmod(0o755)
    version = "3.13.0" if state == "other python" else "3.12.1"
    program(folder, "python3.12", f"echo Python {version}")
    make(folder, "help", "PYTHON=python3.12")
    assert made.exists() is stays
