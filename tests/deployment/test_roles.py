"""Each role runs with its own extra of the wheel: `bbgram-chat[edge]` is all that an edge needs."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from infra.cli.extras import _EXTRAS
from infra.cli.main import main
from infra.version import VERSION
from tests.conftest import ClientFactory
from tests.harness.deployment import Deployment, Edge, Part
from tests.harness.engines import Engines, Store, free_port
from tests.harness.roles import ROOT, Installed, build_wheel, install
from tests.harness.waiting import eventually

ROLES = ("edge", "worker", "functions")
NOWHERE = {
    "BBGRAM_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "BBGRAM_REDIS_URL": "redis://127.0.0.1:1/0",
    "BBGRAM_SUPABASE_URL": "http://127.0.0.1:1",
}
LACKING = {
    "edge": {"worker": "worker", "migrate": "worker", "run cleanup": "functions", "dev": "local"},
    "worker": {"edge": "edge", "dev": "local"},
    "functions": {
        "worker": "worker",
        "message send a b": "worker",
        "doctor": "edge,worker",
        "run offline_delivery": "worker",
    },
}
"""Commands that need another extra than the one that is installed."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installed]:
    """Build the wheel once, and make an environment for each role."""
    folder = tmp_path_factory.mktemp("roles")
    wheel = build_wheel(folder)
    return {role: install(wheel, role, folder / role) for role in ROLES}


@pytest.fixture
def empty(engines: Engines) -> Iterator[Store]:
    """An empty database, and a Redis."""
    store = engines.new_store(migrated=False)
    yield store
    engines.release(store)


async def test_an_environment_for_each_role_and_they_chat(
    installed: dict[str, Installed], empty: Store, tmp_path: Path, client: ClientFactory
) -> None:
    env = {name: value for name, value in Deployment(empty, tmp_path).env.items() if name != "PYTHONPATH"}
    settings = {name: value for name, value in env.items() if name.startswith("BBGRAM_")}
    migrated = installed["worker"].run("migrate", **settings)
    assert migrated.stdout.endswith("the database is up to date\n"), migrated.stderr
    of_workers, of_edges = ((installed[role].bbgram,) for role in ("worker", "edge"))
    edge = Edge(free_port(), env, tmp_path / "edge", program=of_edges)
    parts = {
        "worker": Part(["worker"], env, tmp_path / "worker", program=of_workers),
        "functions": Part(["worker", "--functions"], env, tmp_path / "functions", program=of_workers),
        "beat": Part(["beat"], env, tmp_path / "beat", program=of_workers),
        "edge": edge,
    }
    try:
        edge.wait_ready()
        alice, bob = [await client(name).connect(edge) for name in ("alice", "bob")]
        assert (await alice.send("bob", "hello"))["success"]
        await bob.expect("new_message", lambda message: message["text"] == "hello")
        for function in ("cleanup", "push"):
            done = installed["functions"].run("run", function, **settings)
            assert done.returncode == 0, done.stderr
        for name, part in parts.items():
            eventually(partial(logs_its_version, part), f"{name} logs its version")
    finally:
        for part in parts.values():
            part.stop()


def logs_its_version(part: Part) -> bool:
    return f'"version": "{VERSION}"' in part.log


@pytest.mark.parametrize("role", ROLES)
def test_the_version_is_printed(installed: dict[str, Installed], role: str) -> None:
    assert installed[role].run("--version").stdout.startswith(f"bbgram {VERSION}, ")


@pytest.mark.parametrize("role", ROLES)
def test_a_command_of_another_role_says_in_one_line_which_extra_it_needs(
    installed: dict[str, Installed], role: str
) -> None:
    for command, extra in LACKING[role].items():
        done = installed[role].run(*command.split(), **NOWHERE)
        assert done.returncode == 1
        needed = rf'Error: {command.split()[0]}\b.* needs \w+, .*: pip install "bbgram-chat\[{extra}\]"\n'
        assert re.fullmatch(needed, done.stderr), done.stderr


def test_every_command_says_which_extra_it_needs() -> None:
    assert set(main.commands) <= set(_EXTRAS)


@pytest.mark.parametrize("role", ["edge", "worker"])
def test_the_pinned_requirements_of_a_role_are_all_that_it_installs(
    installed: dict[str, Installed], role: str
) -> None:
    text = (ROOT / f"requirements-{role}.txt").read_text()
    pinned = set(re.findall(r"^([\w.-]+==[^\s;]+)", text, re.MULTILINE))
    assert installed[role].pins() <= pinned


@pytest.mark.parametrize("role", ["edge", "worker"])
def test_a_role_pins_the_versions_that_the_tests_run_with(role: str) -> None:
    pins = [
        set(re.findall(r"^([\w.-]+==\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in (f"requirements-{role}.txt", "requirements.txt")
    ]
    assert pins[0] <= pins[1]
