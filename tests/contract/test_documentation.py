"""The documents name everything that exists and nothing else."""

import re
from pathlib import Path

import pytest

from infra.settings import EdgeSettings, FunctionSettings, WorkerSettings
from infra.wire import events
from infra.wire.commands import INTERNAL, REFRESH_TOKEN, RELAYED
from infra.wire.errors import ErrorCode

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "events.md"
DEPLOYMENT = ROOT / "docs" / "deployment.md"
GUARANTEES = ROOT / "docs" / "guarantees.md"
_HEADING = re.compile(r"^### `(\w+)`$")
SERVER_EVENTS = [value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)]


def sections() -> dict[str, list[str]]:
    """Return the names that have a heading of their own, by section."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif match := _HEADING.match(line):
            found.setdefault(section, []).append(match[1])
    return found


@pytest.mark.parametrize("name", [*RELAYED, REFRESH_TOKEN])
def test_every_client_event_has_a_heading(name: str) -> None:
    assert name in sections().get("Client to server", []), f"docs/events.md lacks a heading for `{name}`"


@pytest.mark.parametrize("name", SERVER_EVENTS)
def test_every_server_event_has_a_heading(name: str) -> None:
    assert name in sections().get("Server to client", []), f"docs/events.md lacks a heading for `{name}`"


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_has_a_heading(code: ErrorCode) -> None:
    assert code in sections().get("Error codes", []), f"docs/events.md lacks a heading for `{code}`"


def test_nothing_is_documented_that_does_not_exist() -> None:
    documented = {name for names in sections().values() for name in names}
    assert documented <= {*RELAYED, REFRESH_TOKEN, *SERVER_EVENTS, *ErrorCode}


@pytest.mark.parametrize("name", INTERNAL)
def test_what_only_edges_send_is_no_business_of_clients(name: str) -> None:
    assert name not in {name for names in sections().values() for name in names}


def named_in_the_guarantees() -> list[tuple[str, str]]:
    """Return file and function of each test that docs/guarantees.md names; `::name` is in the file before."""
    named = []
    file = ""
    for part, name in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", GUARANTEES.read_text()):
        file = part or file
        if file:
            named.append((file, name))
    return named


def test_the_guarantees_name_a_test_for_each_promise() -> None:
    assert len(named_in_the_guarantees()) >= 20


@pytest.mark.parametrize(("file", "name"), named_in_the_guarantees())
def test_a_test_that_the_guarantees_name_exists(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text() if name else (ROOT / file).exists()


def test_what_the_page_on_security_names_exists() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    named = re.findall(r"`((?:tests|socket_edge|workers|functions|infra)/[\w/.]+)`", page)
    assert len(named) >= 30
    assert not [path for path in named if not (ROOT / path).exists()]


SETTINGS = {
    name.upper(): field.default
    for settings in (EdgeSettings, FunctionSettings, WorkerSettings)
    for name, field in settings.model_fields.items()
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_in_the_table(name: str) -> None:
    rows = [line for line in DEPLOYMENT.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1, f"docs/deployment.md lacks a row for `{name}`"
    default = SETTINGS[name]
    if isinstance(default, int | float) and not isinstance(default, bool):
        assert float(rows[0].split("|")[2].strip(" `")) == default


@pytest.mark.parametrize(
    "folder", ["socket_edge", "workers", "functions", "functions/channels", "infra/wire", "infra/store"]
)
def test_every_module_stands_in_the_tree(folder: str) -> None:
    tree = (ROOT / "docs" / "architecture.md").read_text()
    modules = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
    assert not {name for name in modules if name not in tree}


def test_every_log_event_is_in_the_table() -> None:
    sources = [
        path.read_text()
        for folder in ("socket_edge", "workers", "functions")
        for path in (ROOT / folder).rglob("*.py")
    ]
    calls = re.compile(r"log\.(?:debug|info|warning|error|exception)\(\s*\"(\w+)\"")
    logged = {name for source in sources for name in calls.findall(source)}
    page = (ROOT / "docs" / "operations.md").read_text()
    assert logged
    assert not {name for name in logged if f"`{name}`" not in page}
