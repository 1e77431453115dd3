"""The documents name everything that exists and nothing else."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from infra.settings.base import AtMost, Settings
from infra.settings.edge import EdgeSettings
from infra.settings.functions import FunctionSettings
from infra.settings.table import USERS, table, with_table
from infra.settings.worker import WorkerSettings
from infra.wire.errors import ErrorCode
from infra.wire.registry import CLIENT_COMMANDS, INTERNAL_COMMANDS, SERVER_EVENTS
from socket_edge.auth.rejections import RefusalReason
from socket_edge.connection.api import DisconnectReason
from tests.faults.faults import FAULTS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "events.md"
DEPLOYMENT = ROOT / "docs" / "deployment.md"
GUARANTEES = ROOT / "docs" / "guarantees.md"
OPERATIONS = ROOT / "docs" / "operations.md"
SECURITY = ROOT / "SECURITY.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
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


PROMISES = re.findall(r"^## (\d+\. .*)\n((?:(?!## ).*\n)*)", GUARANTEES.read_text(), re.MULTILINE)


def test_the_guarantees_are_numbered() -> None:
    assert [int(heading.partition(".")[0]) for heading, _ in PROMISES] == list(range(1, len(PROMISES) + 1))


@pytest.mark.parametrize(("heading", "promise"), PROMISES, ids=[heading for heading, _ in PROMISES])
def test_the_guarantees_name_a_test_for_each_promise(heading: str, promise: str) -> None:
    assert re.findall(r"`tests/[\w/]+\.py", promise), f"docs/guarantees.md names no test for {heading!r}"


@pytest.mark.parametrize(("file", "name"), named_in_the_guarantees())
def test_a_test_that_the_guarantees_name_exists(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text() if name else (ROOT / file).exists()


def cited(kind: str) -> set[str]:
    """Return the names of the faults, or attacks, that the promises cite: `fault *a*`, `faults *a*, *b*`."""
    promises = "".join(promise for _, promise in PROMISES)
    lists = re.findall(rf"\b{kind}s? (\*[^*]+\*(?:, \*[^*]+\*)*)", promises)
    return {name for names in lists for name in re.findall(r"\*([^*]+)\*", names)}


def results(of: str) -> list[str]:
    """Return the names in the table of results of all faults, or attacks."""
    table = GUARANTEES.read_text().partition(f"<!-- {of} -->\n")[2].partition(f"<!-- end of {of} -->")[0]
    return re.findall(r"^\| (.+?) \|", table, re.MULTILINE)[2:]


def attacks() -> Iterator[str]:
    """Yield a pattern for the names of each attack in the tests."""
    for path in (ROOT / "tests" / "security").glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.keyword(arg="attack", value=ast.Constant(value=str(name))):
                    yield re.escape(name)
                case ast.keyword(arg="attack", value=ast.JoinedStr(values=parts)):
                    yield "".join(
                        re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+"
                        for part in parts
                    )


def test_the_faults_that_the_guarantees_cite_exist() -> None:
    assert len(cited("fault")) >= 10
    assert cited("fault") <= FAULTS.keys()


def test_the_attacks_that_the_guarantees_cite_exist() -> None:
    assert cited("attack")
    assert cited("attack") <= set(results("attacks"))


def test_the_table_of_faults_lists_all_faults_in_order() -> None:
    assert results("faults") == [*FAULTS]


def test_the_table_of_attacks_lists_all_attacks() -> None:
    listed, patterns = results("attacks"), [*attacks()]
    assert [name for name in listed if not any(re.fullmatch(one, name) for one in patterns)] == []
    assert [one for one in patterns if not any(re.fullmatch(one, name) for name in listed)] == []


def test_what_the_page_on_security_names_exists() -> None:
    page = SECURITY.read_text()
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


def test_a_setting_of_several_classes_means_the_same_in_each() -> None:
    for settings in SETTINGS:
        for other in SETTINGS:
            for name in settings.model_fields.keys() & other.model_fields.keys():
                assert settings.model_fields[name].description == other.model_fields[name].description


def test_a_setting_of_several_classes_has_the_same_default_in_each() -> None:
    differing = {
        name
        for settings in SETTINGS
        for other in SETTINGS
        for name in settings.model_fields.keys() & other.model_fields.keys()
        if settings.model_fields[name].default != other.model_fields[name].default
    }
    # Edges and workers require Redis; of the functions, one does.
    assert differing == {"redis_url"}


@pytest.mark.parametrize(("letter", "settings"), USERS.items())
def test_the_table_of_settings_says_what_each_class_requires(letter: str, settings: type[Settings]) -> None:
    rows = re.findall(r"^\| `([A-Z_0-9]+)` \| (.*?) \| ([EWF ]+) \|", table(), re.MULTILINE)
    required = set()
    for name, default, users in rows:
        usual, *others = default.split("; ")
        own = dict(other.split(": ", 1) for other in others)
        if letter in users.split() and own.get(letter, usual) == "required":
            required.add(name.lower())
    assert required == {name for name, field in settings.model_fields.items() if field.is_required()}


@pytest.mark.parametrize(
    "relation", [one for settings in SETTINGS for one in settings.relations], ids=lambda one: one.low
)
def test_every_relation_of_settings_is_documented(relation: AtMost) -> None:
    bound = "less than" if relation.less else "at most"
    assert f"| `{relation.low.upper()}` | {bound} `{relation.high.upper()}` |" in DEPLOYMENT.read_text()


PROXIES = ROOT / "infra" / "deploy" / "proxy"


@pytest.mark.parametrize("example", sorted(PROXIES.iterdir()), ids=lambda path: path.name)
def test_the_page_on_deployment_shows_the_examples_of_proxies(example: Path) -> None:
    assert f"```{example.stem}\n{example.read_text()}```" in DEPLOYMENT.read_text()


def test_the_settings_that_the_pages_name_exist() -> None:
    known = {name.upper() for settings in SETTINGS for name in settings.model_fields} | {"DATA_DIR"}
    known |= {f"{name}_SECRET" for name in known} | {"X", "X_SECRET"}
    named = {name for page in PAGES for name in re.findall(r"BBGRAM_([A-Z_]+[A-Z])\b", page.read_text())}
    assert "ORIGINS" in named
    assert not named - known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_is_too_long_to_read(page: Path) -> None:
    may_be_long = "no line" if page in {GUARANTEES, SECURITY} else "|"
    assert not [
        line for line in page.read_text().splitlines() if len(line) > 200 and not line.startswith(may_be_long)
    ]


@dataclass(frozen=True)
class LogCall:
    """A call that logs an event, as it is written in the code."""

    event: str
    level: str
    fields: frozenset[str]
    has_traceback: bool


@cache
def log_calls() -> list[LogCall]:
    """Return all calls that log more than debug events."""
    calls = []
    for folder in ("functions", "infra", "socket_edge", "workers"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and (found := log_call(node)) and found.level != "debug":
                    calls.append(found)
    return calls


def log_call(call: ast.Call) -> LogCall | None:
    match call:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="log" | "_log"), attr=level),
            args=[ast.Constant(value=str(event))],
        ):
            keys = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
            has_traceback = level == "exception" or "exc_info" in keys
            level = "error" if level == "exception" else level
            return LogCall(event, level, frozenset(keys - {"exc_info"}), has_traceback)
    return None


def part_of_operations(heading: str) -> str:
    """Return the text between a heading of docs/operations.md and the next `###`."""
    return OPERATIONS.read_text().partition(f"\n{heading}\n")[2].partition("\n### ")[0]


def log_rows() -> dict[str, list[str]]:
    """Return the cells of each row in the table of log events, by event."""
    section = part_of_operations("## Logs")
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {event: cells for cells in rows for event in re.findall(r"`(\w+)`", cells[0])}


def test_the_table_of_log_events_is_complete() -> None:
    assert log_calls()
    assert set(log_rows()) == {call.event for call in log_calls()}


@pytest.mark.parametrize("event", log_rows())
def test_a_log_event_has_the_level_and_the_fields_of_the_table(event: str) -> None:
    _, level, _, fields, *_ = log_rows()[event]
    for call in log_calls():
        if call.event == event:
            assert level.strip() == call.level
            assert set(re.findall(r"`(\w+)`", fields)) == call.fields
            assert ("traceback" in fields) is call.has_traceback


def test_the_table_of_disconnect_reasons_is_complete() -> None:
    section = part_of_operations("### Why a client was disconnected")
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [*DisconnectReason]


def test_the_table_of_refused_sign_ins_is_complete() -> None:
    section = part_of_operations("### Refused sign-ins")
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [*RefusalReason]
