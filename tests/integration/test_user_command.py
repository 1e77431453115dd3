"""`bbgram user` exports and erases users, and says in one line what is wrong."""

import json
import stat
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.engines import Store, free_port
from tests.harness.stack import bbgram, clean_env
from tests.harness.two import Person, Two
from tests.harness.waiting import eventually
from tests.harness.worker_bench import WorkerBench

Command = Callable[..., subprocess.CompletedProcess[str]]

SECRET = "a secret nobody may log"


@pytest.fixture
def two(bench: WorkerBench) -> Iterator[Two]:
    """Two friends; nobody was erased yet."""
    yield Two.friends(bench)
    bench.rows("TRUNCATE erasures")


@pytest.fixture
def command(bench_store: Store, tmp_path: Path) -> Command:
    """Return a function that runs `bbgram user` to its end; settings can be replaced."""

    def run(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        given = {"DATABASE_URL": bench_store.database_url, "REDIS_URL": bench_store.redis_url, **settings}
        env = {f"BBGRAM_{name}": value for name, value in given.items()}
        return bbgram("user", *words, env={"BBGRAM_DATA_DIR": str(tmp_path), **env})

    return run


def the_one_line(result: subprocess.CompletedProcess[str], code: int) -> str:
    assert (result.returncode, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def begin(two: Two, person: Person) -> None:
    """Have begun an erasure so long ago that nothing is waited for."""
    two.bench.rows(
        "INSERT INTO erasures (user_id, mode, step, started_at)"
        " VALUES (:id, 'delete', 'name', now() - interval '1 hour')",
        id=person.id,
    )


def exported(result: subprocess.CompletedProcess[str]) -> list[Any]:
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_an_operator_exports_a_user_by_name_or_id(two: Two, command: Command, tmp_path: Path) -> None:
    two.send(two.alice, SECRET)
    lines = exported(command("export", two.alice.name))
    assert lines == exported(command("export", str(two.alice.id)))
    assert SECRET in [line.get("text") for line in lines]
    file = tmp_path / "alice.jsonl"
    result = command("export", two.alice.name, "--out", str(file))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert [json.loads(line) for line in file.read_text().splitlines()] == lines
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "exists already" in the_one_line(command("export", two.alice.name, "--out", str(file)), 2)


def test_a_reader_who_has_seen_enough_ends_it_quietly(two: Two, bench_store: Store) -> None:
    two.ask(*(two.sending(two.alice, "x" * 4_000) for _ in range(100)))
    env = clean_env({"BBGRAM_DATABASE_URL": bench_store.database_url})
    words = [sys.executable, "-m", "infra.cli", "user", "export", two.alice.name]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(timeout=60), process.stderr.read()) == (1, b"")


def test_an_operator_erases_a_user_and_gets_a_manifest(two: Two, command: Command) -> None:
    two.send(two.alice, SECRET)
    begin(two, two.alice)
    two.bench.read()
    result = command("delete", two.alice.name, "--mode", "delete", "--yes")
    assert result.returncode == 0, result.stderr
    manifest = json.loads(result.stdout)
    assert manifest["complete"]
    assert (manifest["userId"], manifest["mode"]) == (str(two.alice.id), "delete")
    assert manifest["counts"]["postgres"]["messages"] == 2
    assert manifest["left"]
    assert SECRET not in result.stdout + result.stderr
    assert two.alice.name not in result.stdout + result.stderr
    texts = [message["text"] for message in two.do(two.bob, "get_messages", chatId=two.chat_id)["messages"]]
    assert texts == ["", "ho", ""]
    again = json.loads(command("export", str(two.alice.id)).stdout.splitlines()[0])
    assert again["username"] == "Deleted user"


def test_a_command_that_is_killed_is_completed_by_the_next(
    two: Two, command: Command, bench_store: Store
) -> None:
    two.bench.rows(
        "INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, created_at)"
        " SELECT :chat, n, gen_random_uuid(), :a, :b, :text, now() FROM generate_series(3, 12000) n",
        chat=two.chat_id,
        a=two.alice.id,
        b=two.bob.id,
        text=SECRET,
    )
    begin(two, two.alice)
    words = ("delete", str(two.alice.id), "--mode", "delete", "--yes")
    addresses = {"DATABASE_URL": bench_store.database_url, "REDIS_URL": bench_store.redis_url}
    env = clean_env({f"BBGRAM_{name}": value for name, value in addresses.items()})
    process = subprocess.Popen([sys.executable, "-m", "infra.cli", "user", *words], env=env)
    erased = "SELECT CAST(counts ->> 'postgres.messages' AS int) AS messages, finished_at FROM erasures"
    eventually(lambda: two.bench.rows(erased)[0].messages, "something is erased", pause_s=0.001)
    process.kill()
    process.wait()
    (before,) = two.bench.rows(erased)
    assert 0 < before.messages < 11_999
    assert before.finished_at is None
    manifest = json.loads(command(*words).stdout)
    assert manifest["complete"]
    assert manifest["counts"]["postgres"]["messages"] == 11_999
    left = "SELECT count(*) AS n FROM messages WHERE chat_id = :chat AND text = :text"
    assert two.bench.rows(left, chat=two.chat_id, text=SECRET)[0].n == 0


def test_nothing_is_erased_unless_somebody_says_yes(two: Two, command: Command) -> None:
    result = command("delete", two.alice.name, "--mode", "delete")
    assert result.returncode == 1
    assert two.alice.name in result.stderr
    assert "This cannot be undone" in result.stderr
    assert two.bench.rows("SELECT FROM erasures") == []


def test_the_other_direction_is_refused_in_one_line(two: Two, command: Command) -> None:
    begin(two, two.alice)
    line = the_one_line(command("delete", str(two.alice.id), "--mode", "anonymise", "--yes"), 1)
    assert "erased already" in line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("export",), "Missing argument 'ID_OR_NAME'"),
        (("export", "nobody of this name"), "there is no user nobody of this name"),
        (("export", str(uuid.uuid4())), "there is no user"),
        (("export", "alice", "--s3", "--out", "file"), "give --out or --s3, not both"),
        (("delete", "alice"), "--mode delete, or --mode anonymise"),
        (("delete", "alice", "--mode", "burn"), "Invalid value for '--mode'"),
        (("delete", "nobody of this name", "--mode", "delete", "--yes"), "there is no user"),
        (("burn",), "No such command 'burn'"),
    ],
)
def test_wrong_usage_is_one_line(command: Command, words: tuple[str, ...], told: str) -> None:
    assert told in the_one_line(command(*words), 2)


def test_a_setting_that_is_missing_is_named(two: Two, command: Command) -> None:
    line = the_one_line(command("export", two.alice.name, "--s3"), 2)
    assert "BBGRAM_EXPORT_BUCKET is not set" in line
    words = ("delete", two.alice.name, "--mode", "delete", "--yes")
    assert "BBGRAM_REDIS_URL is not set" in the_one_line(command(*words, REDIS_URL=""), 2)
    assert two.bench.rows("SELECT FROM erasures") == []


def test_an_unreachable_service_is_one_line(two: Two, command: Command) -> None:
    away = f"postgresql://nobody:secret-word@127.0.0.1:{free_port()}/none"
    line = the_one_line(command("export", two.alice.name, DATABASE_URL=away), 1)
    assert line.startswith("Error: user export failed: ")
    assert "secret-word" not in line
    begin(two, two.alice)
    nowhere = f"redis://:secret-word@127.0.0.1:{free_port()}/0"
    words = ("delete", two.alice.name, "--mode", "delete", "--yes")
    line = the_one_line(command(*words, REDIS_URL=nowhere), 1)
    assert line.startswith("Error: user delete failed: ")
    assert "secret-word" not in line
