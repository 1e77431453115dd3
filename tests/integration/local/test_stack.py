"""`bbgram dev`: one command starts everything, one signal stops everything."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest
import socketio

from infra.local.parts import http_ok
from infra.local.ports import free_port
from infra.local.tether import tether
from tests.harness.engines import Engines
from tests.harness.stack import DOCTOR_S, LOOK_S, LocalStack, bbgram, clean_env, command_line, is_gone
from tests.harness.waiting import eventually
from tests.integration.local.conftest import StartStack, check_that_it_stops


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LocalStack]]:
    """Return the runs of one stack, the last of which goes on.

    Its folder shows that a folder may have any name.
    """
    folder = tmp_path_factory.mktemp("stack") / "a 'b' \"c\" %s $d \\e"
    folder.mkdir()
    runs = [LocalStack(folder / "data", free_port()).wait_started()]
    yield runs
    runs[-1].stop()


@pytest.fixture
def stack(runs: list[LocalStack]) -> LocalStack:
    """Return the stack for all tests that leave it running."""
    return runs[-1]


def test_a_folder_may_have_any_name(stack: LocalStack) -> None:
    assert stack.is_ready()
    assert str(stack.folder) in stack.log


async def test_a_token_of_the_stack_opens_a_socket(stack: LocalStack) -> None:
    tokens = {name: bbgram("token", name, env=stack.env).stdout.strip() for name in ("alice", "bob")}
    async with socketio.AsyncSimpleClient() as alice:
        await alice.connect(f"http://localhost:{stack.port}", auth={"token": tokens["alice"]})
        assert (await alice.receive(timeout=10))[0] == "connection_success"
        ack = await alice.call("send_message", {"username": "bob", "text": "hello"}, timeout=10)
    assert ack["success"] is True


def test_the_doctor_finds_nothing_wrong_with_a_running_stack(stack: LocalStack) -> None:
    # Beat sends the first sweep, by which the doctor knows it, some seconds after its start.
    eventually(
        lambda: " beat      no sweep" not in bbgram("doctor", "--local", env=stack.env).stdout,
        "a sweep",
        pause_s=DOCTOR_S,
    )
    result = bbgram("doctor", "--local", env=stack.env)
    assert result.returncode == 0, result.stdout
    assert "postgres  PostgreSQL 18" in result.stdout
    assert f"{stack.port} is in use by an edge" in result.stdout


def test_the_doctor_accepts_a_token_of_the_stack(stack: LocalStack) -> None:
    token = bbgram("token", "alice", env=stack.env).stdout
    result = bbgram("doctor", "--local", "--token", "-", env=stack.env, stdin=token)
    assert "ok    sign-in   the token is that of user " in result.stdout


def test_another_edge_joins_the_stack_when_it_is_told_to(stack: LocalStack) -> None:
    port = free_port()
    edge = subprocess.Popen(
        tether([sys.executable, "-m", "infra.cli", "edge", "--local", "--port", str(port)]),
        env=clean_env({"BBGRAM_DATA_DIR": str(stack.folder)}),
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(http_ok(port, "/readyz"), "the second edge is ready")
    finally:
        edge.terminate()
        assert edge.wait(15) is not None


def test_a_stop_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "data", free_port())
    eventually(lambda: len(stack.family()) >= 2, "the first parts run", pause_s=LOOK_S)
    family = stack.family()
    assert stack.stop() == 0, stack.log
    assert [one for one in family if not is_gone(one)] == []


@pytest.mark.parametrize(
    "words",
    [
        ("postgres", "-D"),
        ("valkey-server",),
        ("infra.local.signin",),
        ("infra.cli", "edge"),
        ("infra.cli", "beat"),
    ],
)
def test_a_part_that_dies_is_restarted(stack: LocalStack, words: tuple[str, ...]) -> None:
    dead = stack.part(*words)
    assert dead is not None
    dead.kill()

    def is_back() -> bool:
        found = stack.part(*words)
        return found is not None and found.pid != dead.pid

    eventually(is_back, f"{words} is back", pause_s=LOOK_S)
    eventually(stack.is_ready, "the edge is ready")
    eventually(
        lambda: bbgram("doctor", "--local", env=stack.env).returncode == 0,
        "the doctor finds nothing wrong",
        pause_s=DOCTOR_S,
    )
    assert "starting it again in" in stack.log


def test_secrets_are_readable_by_their_owner_only_and_never_shown(stack: LocalStack) -> None:
    assert (stack.folder / "stack.env").stat().st_mode & 0o077 == 0
    secrets = [(stack.folder / name / "password").read_text() for name in ("postgres", "valkey")]
    assert not any(secret in stack.log for secret in secrets)
    lines = [command_line(one) for one in stack.family()]
    assert not any(secret in line for line in lines for secret in secrets)


def test_what_the_user_sets_is_used_instead_what_is_no_setting_is_named_once_and_a_closed_terminal_ends_it(
    start_stack: StartStack, engines: Engines
) -> None:
    store = engines.new_store()
    urls = {"BBGRAM_DATABASE_URL": store.database_url, "BBGRAM_REDIS_URL": store.redis_url}
    stack = start_stack(BBGRAM_HOST="127.0.0.2", BBGRAM_LANE="3", **urls)
    names = {one.name() for one in stack.family()}
    assert names.isdisjoint({"postgres", "valkey-server"})
    assert stack.addresses["BBGRAM_REDIS_URL"] == store.redis_url
    assert f"Socket.IO    http://127.0.0.2:{stack.port}\n" in stack.log
    answer = httpx.get(f"http://127.0.0.2:{stack.port}/readyz", verify=False).json()
    assert answer.get("workers") in (None, "answering")
    assert not http_ok(stack.port, "/readyz")()
    assert stack.log.count("is not a setting") == 1
    assert "did you mean BBGRAM_LANES?" in stack.log
    check_that_it_stops(stack, signal.SIGHUP, parts=6)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_a_stack_goes_on_as_it_was_after_ctrl_c_and_after_a_kill(runs: list[LocalStack]) -> None:
    first = runs[-1]
    token = bbgram("token", "alice", env=first.env).stdout.strip()
    addresses = first.addresses
    check_that_it_stops(first, signal.SIGINT)

    second = start_again(runs)
    assert second.addresses == addresses
    jwks = httpx.get(f"{addresses['BBGRAM_SUPABASE_URL']}/auth/v1/.well-known/jwks.json", verify=False).json()
    assert jwt.get_unverified_header(token)["kid"] in {key["kid"] for key in jwks["keys"]}

    family = second.family()
    second.stop(signal.SIGKILL)
    eventually(lambda: all(is_gone(one) for one in family), "all parts are gone")
    assert start_again(runs).is_ready()


def start_again(runs: list[LocalStack]) -> LocalStack:
    """Start the stack once more in its folder."""
    runs.append(LocalStack(runs[-1].folder, runs[-1].port))
    return runs[-1].wait_started()


def test_a_stack_whose_folder_is_deleted_stops_with_one_line(stack: LocalStack) -> None:
    """The last test, because the shared stack is gone after it."""
    family = stack.family()
    shown = len(stack.log)
    shutil.rmtree(stack.folder, ignore_errors=True)
    assert stack.process.wait(20) == 1
    last = stack.log[shown:].splitlines()[-1]
    assert last == (
        f"Error: {stack.folder} was deleted or moved, so everything was stopped; `make run` starts anew"
    )
    assert "starting it again" not in stack.log[shown:]
    assert [one for one in family if not is_gone(one)] == []
