"""Errors are one line, without a traceback, and with an exit code."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.cli.program import with_program
from infra.local.folder import owned
from infra.local.ports import Ports, free_port, is_free
from tests.harness.deployment import Part
from tests.harness.stack import bbgram, clean_env

_FIRST_PORT = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
NOWHERE = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "SUPABASE_URL": "http://127.0.0.1:1",
}


def the_one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("edge", {"REDIS_URL", "SUPABASE_URL"}),
        ("worker", {"DATABASE_URL", "REDIS_URL"}),
        ("beat", {"DATABASE_URL", "REDIS_URL"}),
        ("migrate", {"DATABASE_URL"}),
        ("dead-letters", {"DATABASE_URL"}),
        ("reports", {"DATABASE_URL"}),
        ("user export alice", {"DATABASE_URL"}),
        ("message send alice bob hello", {"DATABASE_URL", "REDIS_URL"}),
        ("run push", {"DATABASE_URL"}),
    ],
)
def test_every_missing_setting_is_named(tmp_path: Path, command: str, settings: set[str]) -> None:
    result = bbgram(*command.split(), env={"BBGRAM_DATA_DIR": str(tmp_path)})
    assert (result.returncode, result.stdout) == (2, "")
    assert set(result.stderr.splitlines()) == {
        f"Error: BBGRAM_{name} is not set. Set it: see docs/deployment.md." for name in settings
    }


def test_every_wrong_setting_is_named(tmp_path: Path) -> None:
    wrong = {**NOWHERE, "DATA_DIR": str(tmp_path), "PORT": "many", "LANES": "0"}
    result = bbgram("edge", env={f"BBGRAM_{name}": value for name, value in wrong.items()})
    assert (result.returncode, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert [line.partition(" is wrong: ")[0] for line in lines] == [
        "Error: BBGRAM_PORT",
        "Error: BBGRAM_LANES",
    ]


@pytest.mark.parametrize(
    "command",
    [
        "edge",
        "worker",
        "beat",
        "migrate",
        "dead-letters",
        "user export alice",
        "user show alice",
        "run push",
        "run cleanup",
    ],
)
def test_no_command_reads_the_local_stack_unless_it_is_told_to(tmp_path: Path, command: str) -> None:
    (tmp_path / "stack.env").write_text(
        "".join(f"BBGRAM_{name}={value}\n" for name, value in NOWHERE.items())
    )
    env = {"BBGRAM_DATA_DIR": str(tmp_path)}
    refused = bbgram(*command.split(), env=env)
    assert refused.returncode == 2
    hint = f"_URL is not set. Set it, or add --local to use the local stack in {tmp_path}."
    assert all(line.endswith(hint) for line in refused.stderr.splitlines())
    told = bbgram(
        *command.split(), "--local", env={**env, "BBGRAM_LANES": "0", "BBGRAM_PAGE": "0", "BBGRAM_RUN_S": "0"}
    )
    assert "is not set" not in told.stderr


def test_an_edge_in_the_folder_of_a_local_stack_does_not_use_it(tmp_path: Path) -> None:
    (tmp_path / ".bbgram").mkdir()
    (tmp_path / ".bbgram" / "stack.env").write_text("BBGRAM_ORIGINS=*\nBBGRAM_LANES=0\n")
    env = {"BBGRAM_REDIS_URL": "redis://127.0.0.1:1/0", "BBGRAM_SUPABASE_URL": "http://127.0.0.1:1"}
    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        words = ("edge", "--host", "127.0.0.1", "--port", str(taken.getsockname()[1]))
        own = bbgram(*words, env=env, folder=tmp_path)
        local = bbgram(*words, "--local", env=env, folder=tmp_path)
    assert the_one_line(own).startswith("Error: Cannot listen on ")  # so its settings are complete and right
    assert the_one_line(local).startswith("Error: BBGRAM_LANES is wrong: ")


def test_the_local_stack_must_have_been_started(tmp_path: Path) -> None:
    result = bbgram("doctor", "--local", env={"BBGRAM_DATA_DIR": str(tmp_path)})
    assert result.returncode == 1
    assert the_one_line(result) == (
        f"Error: no local stack was ever started in {tmp_path}: start it with `make run` first"
    )


def test_settings_of_the_local_stack_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    (tmp_path / "stack.env").write_bytes(b"\xff")
    result = bbgram("edge", "--local", env={"BBGRAM_DATA_DIR": str(tmp_path)})
    assert result.returncode == 1
    assert the_one_line(result).startswith(f"Error: {tmp_path / 'stack.env'} cannot be read: ")


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    env = {"BBGRAM_DATA_DIR": str(tmp_path), "BBGRAM_REDIS_URL": "redis://x", "BBGRAM_SUPABASE_URL": "x"}
    result = bbgram("edge", env=env)
    assert result.returncode == 2
    assert the_one_line(result) == "Error: BBGRAM_SUPABASE_URL is wrong: must start with http:// or https://."


def test_a_token_needs_a_stack(tmp_path: Path) -> None:
    result = bbgram("token", "alice", env={"BBGRAM_DATA_DIR": str(tmp_path)})
    assert result.returncode == 1
    assert the_one_line(result).endswith(
        f"no local stack was ever started in {tmp_path}: start it with `make run` first"
    )


def test_a_port_in_use_stops_the_start_before_anything_is_created(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = bbgram("dev", env={"BBGRAM_DATA_DIR": str(folder), "PORT": str(port)})
    assert result.returncode == 1
    line = the_one_line(result)
    assert line.startswith(f"Error: port {port} is in use; ")
    assert is_free(int(line.rpartition("PORT=")[2].split()[0]))
    assert not folder.exists()


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no ::1 here")
def test_a_port_in_use_on_either_address_of_localhost_is_in_use() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        assert not is_free(taken.getsockname()[1])


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "1e3", "\u0663000", "inf", "9" * 5_000])
def test_an_invalid_port_is_refused(tmp_path: Path, port: str) -> None:
    result = bbgram("dev", env={"BBGRAM_DATA_DIR": str(tmp_path), "PORT": port})
    assert result.returncode == 2
    assert the_one_line(result) == f"Error: PORT must be a number from 1 to 65535, not {port[:20]!a}"


def test_two_stacks_do_not_share_a_folder(tmp_path: Path) -> None:
    """Whatever the port: a second start by mistake finds the first one's port in use as well."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with owned(tmp_path, port):
            result = bbgram("dev", env={"BBGRAM_DATA_DIR": str(tmp_path), "PORT": str(port)})
    assert result.returncode == 1
    line = the_one_line(result)
    assert line.startswith(
        f"Error: a local stack already runs in {tmp_path}, on port {port}; stop it with Ctrl-C"
    )
    other = re.fullmatch(r".* PORT=(\d+) BBGRAM_DATA_DIR=(\S+) make run", line)
    assert other
    assert is_free(int(other[1]))
    assert not Path(other[2]).exists()


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    env = {"BBGRAM_DATA_DIR": str(tmp_path / "file" / "data"), "PORT": str(free_port())}
    result = bbgram("dev", env=env)
    assert result.returncode == 1
    assert "cannot be written (Not a directory); make it writable, or set BBGRAM_DATA_DIR" in the_one_line(
        result
    )


def test_a_database_of_another_version_stops_the_start_and_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "cluster").mkdir(parents=True)
    (tmp_path / "postgres" / "cluster" / "PG_VERSION").write_text("16\n")
    result = bbgram("dev", env={"BBGRAM_DATA_DIR": str(tmp_path), "PORT": str(free_port())})
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "was made by Postgres 16, this is 18" in line
    assert "is running" not in result.stdout


def test_a_migration_that_cannot_reach_the_database_is_one_line(tmp_path: Path) -> None:
    env = {
        "BBGRAM_DATA_DIR": str(tmp_path),
        "BBGRAM_DATABASE_URL": "postgresql://nobody:secret-word@127.0.0.1:1/none",
    }
    result = bbgram("migrate", env=env)
    assert result.returncode == 1
    assert the_one_line(result).startswith("Error: the migration failed: ")
    assert "secret-word" not in result.stderr


def test_the_doctor_says_what_to_do_about_everything_that_is_wrong(tmp_path: Path) -> None:
    env = {
        "BBGRAM_DATA_DIR": str(tmp_path),
        "BBGRAM_REDIS_URL": "redis://:secret-word@127.0.0.1:1/0",
        "BBGRAM_DATABASE_URL": "postgresql://nobody:secret-word@127.0.0.1:1/none",
        "BBGRAM_SUPABASE_URL": "http://127.0.0.1:1",
    }
    result = bbgram("doctor", env=env)
    assert result.returncode == 1
    wrong = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("WRONG")]
    assert wrong == ["redis", "postgres", "sign-in"]
    assert all(" -> " in line for line in result.stdout.splitlines() if line.startswith("WRONG"))
    assert "secret-word" not in result.stdout + result.stderr


def test_the_doctor_names_unknown_variables(tmp_path: Path) -> None:
    result = bbgram("doctor", env={"BBGRAM_DATA_DIR": str(tmp_path), "BBGRAM_BATCH_EVENTS": "7"})
    assert (
        "BBGRAM_BATCH_EVENTS is not a setting and has no effect -> did you mean BBGRAM_RATE_EVENTS?"
        in result.stdout
    )


def test_the_doctor_names_missing_settings(tmp_path: Path) -> None:
    (tmp_path / "stack.env").write_text("BBGRAM_REDIS_URL=redis://127.0.0.1:1/0\n")
    result = bbgram("doctor", env={"BBGRAM_DATA_DIR": str(tmp_path)})
    assert result.returncode == 1
    for name in ("REDIS_URL", "SUPABASE_URL", "DATABASE_URL"):
        assert (
            f"BBGRAM_{name} is not set. Set it, or add --local to use the local stack in {tmp_path}."
            in result.stdout
        )


def test_a_command_whose_packages_are_not_installed_says_so(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError(name='psycopg')")
    result = bbgram("dev", env={"BBGRAM_DATA_DIR": str(tmp_path), "PYTHONPATH": str(tmp_path)}, forked=False)
    assert result.returncode == 1
    assert the_one_line(result) == (
        "Error: dev needs psycopg, which is not installed here; "
        'install it with: pip install "bbgram-chat[local]"'
    )


def test_a_port_taken_by_another_program_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = Ports(file).choose("postgres")
    assert Ports(file).choose("postgres") == first
    with socket.create_server(("127.0.0.1", first)):
        second = Ports(file).choose("postgres")
    assert second != first
    assert json.loads(file.read_text()) == {"postgres": second}
    assert Ports(file).choose("valkey", preferred=second) != second


@pytest.mark.parametrize("damage", ["", "{", '["a"]', '{"a": 1e400}', '{"a": "x"}', "[" * 100_000, "\0"])
def test_damaged_ports_are_chosen_anew(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "ports.json"
    file.write_text(damage)
    port = Ports(file).choose("postgres")
    assert json.loads(file.read_text()) == {"postgres": port}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "sweeping"), "No such command 'sweeping'"),
        (("run", "cleanup", "--dry"), "No such option"),
        (("run", "restore", "--from", "2026-01-31"), "Missing option '--to'"),
        (("run", "restore", "--from", "yesterday", "--to", "2026-01-31"), "Invalid value for '--from'"),
        (("run", "restore", "--from", "2026-02-01", "--to", "2026-01-31"), "--to lies before --from"),
        (("edge", "--port", "many"), "Invalid value for '--port'"),
        (("fly",), "No such command 'fly'"),
    ],
)
def test_a_wrong_name_or_option_is_one_line(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    result = bbgram(*words, env={"BBGRAM_DATA_DIR": str(tmp_path)})
    assert result.returncode == 2
    assert told in the_one_line(result)
    assert "--help" in result.stderr


@pytest.mark.parametrize(
    "function", ["cleanup", "offline_delivery", "push", "archive", "restore", "erase_users"]
)
def test_every_function_says_what_it_does(tmp_path: Path, function: str) -> None:
    result = bbgram("run", function, "--help", env={"BBGRAM_DATA_DIR": str(tmp_path)})
    assert result.returncode == 0
    assert "--dry-run" in result.stdout
    assert len(result.stdout.splitlines()[2].strip()) > 20


@pytest.mark.parametrize("command", ["beat", "worker --functions", "run --help", "run digest"])
def test_jobs_that_cannot_be_imported_are_one_line(tmp_path: Path, command: str) -> None:
    env = {**{f"BBGRAM_{name}": value for name, value in NOWHERE.items()}, "BBGRAM_DATA_DIR": str(tmp_path)}
    result = bbgram(*command.split(), env={**env, "BBGRAM_JOBS": "no_team.jobs"})
    assert result.returncode == 2
    assert the_one_line(result) == (
        "Error: BBGRAM_JOBS is wrong: no_team.jobs cannot be imported "
        "(ModuleNotFoundError: No module named 'no_team')."
    )


def test_an_archive_without_a_bucket_is_reported(tmp_path: Path) -> None:
    env = {"BBGRAM_DATA_DIR": str(tmp_path), "BBGRAM_DATABASE_URL": NOWHERE["DATABASE_URL"]}
    result = bbgram("run", "archive", env=env)
    assert result.returncode == 2
    assert the_one_line(result) == "Error: BBGRAM_ARCHIVE_BUCKET is not set; archive needs it."


def test_a_function_that_cannot_reach_what_it_needs_is_one_line(tmp_path: Path) -> None:
    env = {
        "BBGRAM_DATA_DIR": str(tmp_path),
        "BBGRAM_REDIS_URL": "redis://:secret-word@127.0.0.1:1/0",
        "BBGRAM_DATABASE_URL": "postgresql://nobody:secret-word@127.0.0.1:1/none",
    }
    for function in ("cleanup", "offline_delivery", "push"):
        result = bbgram("run", function, env=env)
        assert result.returncode == 1
        assert the_one_line(result).startswith(f"Error: {function} failed: ")
        assert "secret-word" not in result.stderr


def test_an_archive_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    env = {
        "BBGRAM_DATA_DIR": str(tmp_path),
        "BBGRAM_DATABASE_URL": NOWHERE["DATABASE_URL"],
        "BBGRAM_ARCHIVE_BUCKET": "bucket",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "secret-word",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    result = bbgram("run", "restore", "--from", "2026-01-31", "--to", "2026-01-31", "--dry-run", env=env)
    assert result.returncode == 1
    assert the_one_line(result).startswith("Error: restore failed: Could not connect to the endpoint URL")
    assert "secret-word" not in result.stderr


def test_the_version_is_shown() -> None:
    result = bbgram("--version", env={})
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"bbgram (\d+\.\d+\.\d+|unknown), Python 3\.\d+\.\d+\n", result.stdout)


@pytest.mark.parametrize("words", [(), ("run",)])
def test_a_command_that_is_not_complete_shows_help(words: tuple[str, ...]) -> None:
    result = bbgram(*words, env={})
    assert result.returncode == 2
    assert result.stderr.startswith("Usage: ")
    assert "\nCommands:\n" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        "edge",
        "worker",
        "worker --functions",
        "beat",
        "migrate",
        "dead-letters",
        "reports",
        "user export alice",
        "run push",
        "token alice",
        "dev",
    ],
)
def test_every_command_names_unknown_variables_and_the_nearest_setting(tmp_path: Path, command: str) -> None:
    env = {
        "BBGRAM_DATA_DIR": str(tmp_path),
        "PORT": "http",
        "BBGRAM_REDISURL": "redis://:secret-word@h",
        "BBGRAM_QQQQ": "1",
        "BBGRAM_VAPID_PRIVATE_KEY_SECRET": "known",
    }
    result = bbgram(*command.split(), env=env)
    assert [line for line in result.stderr.splitlines() if line.startswith("Warning: ")] == [
        "Warning: BBGRAM_QQQQ is not a setting and has no effect; docs/deployment.md lists all settings",
        "Warning: BBGRAM_REDISURL is not a setting and has no effect; did you mean BBGRAM_REDIS_URL?",
    ]
    assert "secret-word" not in result.stderr


REFUSED = "127.0.0.1:1 cannot be used: Connection refused; start it, or correct BBGRAM_"


@pytest.mark.parametrize(
    ("command", "service"),
    [
        ("migrate", "Postgres"),
        ("dead-letters", "Postgres"),
        ("reports", "Postgres"),
        ("user export alice", "Postgres"),
        ("user delete alice --mode delete --yes", "Postgres"),
        ("user show alice", "Postgres"),
        ("dead-letters replay --all", "Postgres"),
        ("run cleanup", "Postgres"),
        ("run offline_delivery", "Postgres"),
        ("dev", "Redis"),
    ],
)
def test_a_service_that_does_not_answer_is_named_with_its_address(
    tmp_path: Path, command: str, service: str
) -> None:
    addresses = {
        "BBGRAM_REDIS_URL": "redis://:secret-word@127.0.0.1:1/0",
        "BBGRAM_DATABASE_URL": "postgresql://nobody:secret-word@127.0.0.1:1/none",
    }
    env = {**addresses, "BBGRAM_DATA_DIR": str(tmp_path), "PORT": str(free_port())}
    line = the_one_line(bbgram(*command.split(), env=env))
    assert f"{service} at {REFUSED}" in line
    assert "secret-word" not in line


def test_all_postgres_servers_that_do_not_answer_are_named(tmp_path: Path) -> None:
    servers = "127.0.0.1:1,localhost:2"
    env = {
        "BBGRAM_DATA_DIR": str(tmp_path),
        "BBGRAM_DATABASE_URL": f"postgresql://nobody:secret-word@{servers}/none",
    }
    line = the_one_line(bbgram("migrate", env=env))
    assert f"Postgres at {servers} cannot be used: Connection refused; start it" in line
    assert "secret-word" not in line


@pytest.mark.parametrize("command", ["edge --port 0", "worker", "beat"])
def test_a_process_names_a_redis_that_does_not_answer_once_and_goes_on_trying(
    tmp_path: Path, command: str
) -> None:
    tries = 0
    with socket.create_server(("127.0.0.1", 0)) as redis:
        address = f"127.0.0.1:{redis.getsockname()[1]}"
        env = {
            "BBGRAM_DATA_DIR": str(tmp_path),
            "BBGRAM_REDIS_URL": f"redis://:secret-word@{address}/0",
            "BBGRAM_DATABASE_URL": "postgresql://nobody:secret-word@127.0.0.1:1/none",
            "BBGRAM_SUPABASE_URL": "http://127.0.0.1:1",
        }
        part = Part(command.split(), clean_env(env), tmp_path / "log", forked=True)
        redis.settimeout(30)
        try:
            while tries < 8:
                redis.accept()[0].close()
                tries += 1
            named = [line for line in part.log.splitlines() if address in line]
        finally:
            part.kill()
    assert len(named) == 1, part.log
    assert "secret-word" not in part.log
    if command.startswith("worker"):
        assert part.log.count("database_unreachable") == 1
        assert '127.0.0.1:1"' in part.log


def test_hints_name_the_program_as_it_was_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "bbgram"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert with_program("run `bbgram migrate` first") == "run `bin/bbgram migrate` first"
    assert with_program("start `bbgram beat`", ["--local"]) == "start `bin/bbgram beat --local`"
    with monkeypatch.context() as service:
        service.chdir("/")
        assert with_program("start `bbgram beat`") == f"start `{program} beat`"
    monkeypatch.setenv("PATH", str(program.parent))
    assert with_program("run `bbgram migrate`") == "run `bbgram migrate`"
    assert with_program("run `make run`", ["--local"]) == "run `make run`"


@pytest.mark.skipif(os.geteuid() != 0 or _FIRST_PORT <= 80, reason="needs root, and ports for root only")
def test_a_port_for_root_only_is_not_said_to_be_in_use() -> None:
    code = (
        "import os; from infra.local.ports import is_free; from infra.settings.base import SettingsError\n"
        "is_free(8080)  # imports what nobody else may read\n"
        "os.setuid(65534)\n"
        "try: is_free(80)\n"
        "except SettingsError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout == "PORT=80 is for root only: choose one from 1024 on.\n", done.stderr
