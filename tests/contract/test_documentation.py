"""The documents name everything that exists and nothing else."""

import re
from pathlib import Path

import pytest

from infra.settings.base import AtMost, Settings
from infra.settings.edge import EdgeSettings
from infra.settings.functions import FunctionSettings
from infra.settings.table import with_table
from infra.settings.worker import WorkerSettings
from infra.wire.errors import ErrorCode
from infra.wire.registry import CLIENT_COMMANDS, INTERNAL_COMMANDS, SERVER_EVENTS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "events.md"
DEPLOYMENT = ROOT / "docs" / "deployment.md"
GUARANTEES = ROOT / "docs" / "guarantees.md"
_HEADING = re.compile(r"^### `(\w+)`$")


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


@pytest.mark.parametrize("name", CLIENT_COMMANDS)
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
    assert documented <= {*CLIENT_COMMANDS, *SERVER_EVENTS, *ErrorCode}


@pytest.mark.parametrize("name", INTERNAL_COMMANDS)
def test_internal_events_are_not_documented_for_clients(name: str) -> None:
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
    named: list[Path] = []
    for path in re.findall(r"`((?:(?:tests|socket_edge|workers|functions|infra)/[\w/.]+)|\w+\.py)`", page):
        # A bare file is in the folder of the path before.
        named.append(ROOT / path if "/" in path else named[-1].parent / path)
    assert len(named) >= 30
    assert not [path for path in named if not path.exists()]


SETTINGS: tuple[type[Settings], ...] = (EdgeSettings, FunctionSettings, WorkerSettings)


def test_the_table_of_settings_is_that_of_the_classes() -> None:
    page = DEPLOYMENT.read_text()
    assert page == with_table(page), "run `make tables`"


@pytest.mark.parametrize(
    ("settings", "name"), [(settings, name) for settings in SETTINGS for name in settings.model_fields]
)
def test_every_setting_is_described(settings: type[Settings], name: str) -> None:
    assert settings.model_fields[name].description


def test_a_setting_of_several_classes_is_the_same_in_each() -> None:
    for settings in SETTINGS:
        for other in SETTINGS:
            for name in (settings.model_fields.keys() & other.model_fields.keys()) - {"redis_url"}:
                mine, theirs = settings.model_fields[name], other.model_fields[name]
                assert (mine.default, mine.description) == (theirs.default, theirs.description)


@pytest.mark.parametrize(
    "relation", [one for settings in SETTINGS for one in settings.relations], ids=lambda one: one.low
)
def test_every_relation_of_settings_is_documented(relation: AtMost) -> None:
    bound = "less than" if relation.less else "at most"
    assert f"| `{relation.low.upper()}` | {bound} `{relation.high.upper()}` |" in DEPLOYMENT.read_text()


def test_the_settings_that_the_pages_name_exist() -> None:
    known = {name.upper() for settings in SETTINGS for name in settings.model_fields} | {"DATA_DIR"}
    known |= {f"{name}_SECRET" for name in known} | {"X", "X_SECRET"}
    pages = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"BBGRAM_([A-Z_]+[A-Z])\b", page.read_text())}
    assert "ORIGINS" in named
    assert not named - known


@pytest.mark.parametrize("page", ["docs/deployment.md"])
def test_no_line_is_too_long_to_read(page: str) -> None:
    lines = (ROOT / page).read_text().splitlines()
    assert not [line for line in lines if len(line) > 200 and not line.startswith("|")]


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
