"""The trees of the documents match the repository, and the life of a message leads through real code."""

import ast
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
README = (ROOT / "README.md").read_text()
FUNCTIONS = (ROOT / "docs" / "functions.md").read_text()
PACKAGES = ("functions", "infra", "socket_edge", "workers")
IGNORED = [".git", *(line.strip().rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines())]

_ENTRY = re.compile(r"(?P<indent> *)(?P<names>[\w.]+[\w/]*(?:, [\w.]+/?)*)(?:  .*)?")
_STEP = re.compile(r"^\d+\. \*\*(`[^*]*`)\.\*\*", re.MULTILINE)
_QUOTED = re.compile(r"`([^`]*)`")
_PLACE = re.compile(r"(functions|infra|socket_edge|tests|workers)/\S+$")


def section(page: str, heading: str) -> str:
    """Return the text under a heading."""
    _, found, rest = page.partition(f"\n## {heading}\n")
    assert found, f"there is no section {heading!r}"
    return rest.partition("\n## ")[0]


def tree(page: str, heading: str) -> set[str]:
    """Return the paths in the tree of a section: two spaces of indentation a level, names before the text."""
    paths = set()
    folders: list[str] = []
    for line in section(page, heading).split("```")[1].strip().splitlines():
        entry = _ENTRY.fullmatch(line)
        assert entry, f"not a line of a tree: {line!r}"
        level = len(entry["indent"]) // 2
        assert level <= len(folders), f"too deep: {line!r}"
        names = entry["names"].split(", ")
        paths |= {"/".join([*folders[:level], name.rstrip("/")]) for name in names}
        folders = [*folders[:level], *(name.rstrip("/") for name in names if name.endswith("/"))]
    return paths


def is_ignored(path: Path) -> bool:
    return any(fnmatch(part, pattern) for part in path.relative_to(ROOT).parts for pattern in IGNORED)


def modules() -> set[str]:
    """Return every module of the product, and every folder that holds one."""
    found = {
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if not is_ignored(path)
    }
    folders = {folder for path in found for folder in path.parents} - {Path()}
    listed = {
        path for path in found if path.name != "__init__.py" and "migrations/versions" not in path.as_posix()
    }
    return {path.as_posix() for path in folders | listed}


def folders_of(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.is_dir() and not is_ignored(path) and any(is_kept(part) for part in path.rglob("*")):
            yield path.relative_to(ROOT).as_posix()


def is_kept(path: Path) -> bool:
    """Tell whether this is a file of the repository, and not what a run or an earlier branch has left."""
    return path.is_file() and not is_ignored(path)


def test_every_module_is_in_the_tree_of_the_architecture() -> None:
    missing = modules() - tree(ARCHITECTURE, "The tree")
    assert not missing, f"docs/architecture.md, 'The tree', lacks {sorted(missing)}"


def test_nothing_is_in_the_tree_of_the_architecture_that_does_not_exist() -> None:
    extra = {path for path in tree(ARCHITECTURE, "The tree") if not (ROOT / path).exists()}
    assert not extra, f"docs/architecture.md, 'The tree', shows what does not exist: {sorted(extra)}"


def test_every_folder_is_in_the_layout_of_the_readme() -> None:
    shown = tree(README, "Layout")
    top = {
        folder
        for folder in folders_of(ROOT)
        if not any(f"{path}/".startswith(f"{folder}/") for path in shown)
    }
    inner = {path for folder in ("infra", "tests") for path in folders_of(ROOT / folder)}
    missing = top | inner - shown
    assert not missing, f"README.md, 'Layout', lacks {sorted(missing)}"


def test_nothing_is_in_the_layout_of_the_readme_that_does_not_exist() -> None:
    extra = {path for path in tree(README, "Layout") if not (ROOT / path).exists()}
    assert not extra, f"README.md, 'Layout', shows what does not exist: {sorted(extra)}"


def test_the_layers_in_the_architecture_are_those_that_are_enforced() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = ["\n".join(contract["layers"]) for contract in contracts if contract["type"] == "layers"]
    assert layers
    missing = [each for each in layers if f"```\n{each}\n```" not in ARCHITECTURE]
    assert not missing, "docs/architecture.md, 'Who may import what', lacks:\n" + "\n\n".join(missing)


LIFE = section(ARCHITECTURE, "Life of a message")
STEPS = [_QUOTED.findall(head) for head in _STEP.findall(LIFE)]
"""Of each step: its file, and the classes and functions that matter."""


def defined_in(path: Path) -> set[str]:
    """Return the classes and functions of a module, methods as `Class.method`."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            names |= {node.name} | {
                f"{node.name}.{part.name}" for part in node.body if isinstance(part, FUNCTION)
            }
        elif isinstance(node, FUNCTION):
            names.add(node.name)
    return names


FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_every_step_in_the_life_of_a_message_begins_with_its_file() -> None:
    assert len(STEPS) == len(re.findall(r"^\d+\. ", LIFE, re.MULTILINE)) > 0


def test_a_message_passes_at_most_14_files_each_once() -> None:
    files = [step[0] for step in STEPS]
    assert len(files) == len(set(files)) <= 14
    others = {name for name in _QUOTED.findall(LIFE) if name.endswith(".py")} - set(files)
    assert not others, f"named outside of the steps: {sorted(others)}"


@pytest.mark.parametrize(("file", "names"), [pytest.param(file, names, id=file) for file, *names in STEPS])
def test_a_step_in_the_life_of_a_message_is_where_it_says(file: str, names: list[str]) -> None:
    assert (ROOT / file).is_file(), f"{file} does not exist"
    assert names, f"the step of {file} names no class or function"
    lacking = set(names) - defined_in(ROOT / file)
    assert not lacking, f"{file} does not define {sorted(lacking)}"


RECIPES = {
    "architecture": section(ARCHITECTURE, "Where to add something"),
    "function": section(FUNCTIONS, "Write a function"),
    "channel": section(FUNCTIONS, "Write a channel"),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_places_that_a_recipe_names_exist(recipe: str) -> None:
    paths = [path for path in _QUOTED.findall(recipe) if _PLACE.match(path) and "NAME" not in path]
    assert len(paths) > 2
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing
