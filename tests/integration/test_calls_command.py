"""`bbgram user` and `bbgram message` do what calls of the server API do, through the same handlers."""

import json
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.cli.calls import VERBS
from infra.cli.main import main
from infra.wire.server_api import CALLS, keyed_client_id
from tests.harness.engines import Store, free_port
from tests.harness.stack import bbgram
from tests.harness.two import Two
from tests.harness.worker_bench import WorkerBench

Command = Callable[..., subprocess.CompletedProcess[str]]

SECRET = "a secret nobody may log"
ELSEWHERE = {"erase_user", "export_user", "list_reports", "get_report", "close_report"}
"""Calls that `bbgram user delete`, `user export` and `bbgram reports` stand for."""
NOBODY = str(uuid.UUID(int=7))


@pytest.fixture
def two(bench: WorkerBench) -> Two:
    return Two.friends(bench)


@pytest.fixture
def command(bench_store: Store, tmp_path: Path) -> Command:
    """Return a function that runs `bbgram` to its end; settings can be replaced."""

    def run(*words: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        given = {"DATABASE_URL": bench_store.database_url, "REDIS_URL": bench_store.redis_url, **settings}
        env = {f"BBGRAM_{name}": value for name, value in given.items()}
        return bbgram(*words, env={"BBGRAM_DATA_DIR": str(tmp_path), **env}, stdin=stdin)

    return run


def answer(result: subprocess.CompletedProcess[str]) -> Any:
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


def the_one_line(result: subprocess.CompletedProcess[str], code: int) -> str:
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_every_call_of_the_server_api_has_a_command() -> None:
    assert CALLS.keys() - ELSEWHERE == VERBS.keys()
    for words in VERBS.values():
        group, verb = words.split()
        assert verb in main.commands[group].commands  # type: ignore[attr-defined]


def test_a_message_is_sent_as_a_user_and_both_hear_of_it(two: Two, command: Command) -> None:
    two.bench.read()
    sent = answer(command("message", "send", two.alice.name, str(two.bob.id), SECRET, "--data", '{"n": 7}'))
    message = sent["message"]
    assert (message["senderId"], message["text"], message["data"]) == (str(two.alice.id), SECRET, {"n": 7})
    reply = two.bench.read()
    assert [one["id"] for one in reply.emitted("new_message", two.bob.id)] == [message["id"]]
    assert [one["id"] for one in reply.emitted("message_sent", two.alice.id)] == [message["id"]]


def test_the_app_says_something_in_the_chat_of_two(two: Two, command: Command) -> None:
    words = ("message", "send", two.alice.name, two.bob.name, "Shipped.", "--kind", "system")
    message = answer(command(*words))["message"]
    assert (message["kind"], message["senderId"]) == ("system", str(two.alice.id))
    assert "`kind` is not valid" in the_one_line(command(*words[:-1], "user"), 2)


def test_a_user_gets_a_name_an_avatar_and_data_and_loses_them(two: Two, command: Command) -> None:
    put = ("user", "put", two.alice.name, "--username", two.alice.name)
    described = {"name": "Alice", "avatarUrl": "https://example.com/a.png", "data": {"n": 1}}
    words = ("--name", "Alice", "--avatar-url", "https://example.com/a.png", "--data", '{"n": 1}')
    assert answer(command(*put, *words))["user"].items() >= described.items()
    gone = answer(command(*put, "--name", "", "--avatar-url", "", "--data", "null"))["user"]
    assert gone.keys().isdisjoint(described)


def test_the_text_may_come_from_stdin(two: Two, command: Command) -> None:
    sent = answer(
        command("message", "send", two.alice.name, two.bob.name, "-", stdin=f"{SECRET}\nand more\n")
    )
    assert sent["message"]["text"] == f"{SECRET}\nand more"


def test_a_message_may_be_data_alone_and_answer_another(two: Two, command: Command) -> None:
    words = ("message", "send", two.alice.name, two.bob.name, "--data", "{}", "--reply-to", "1")
    message = answer(command(*words))["message"]
    assert (message["text"], message["data"], message["replyTo"]["seq"]) == ("", {}, 1)


def test_a_key_makes_a_command_safe_to_repeat(two: Two, command: Command) -> None:
    words = ("message", "send", two.alice.name, two.bob.name, "hello", "--idempotency-key", "order-7")
    first, again = (answer(command(*words)) for _ in range(2))
    assert first["message"]["id"] == again["message"]["id"]
    assert first["message"]["clientId"] == keyed_client_id("order-7")  # as that of a call with this key
    wrong = command(*words[:-1], "two words")
    assert "1 to 60 visible ASCII characters" in the_one_line(wrong, 2)


def test_a_message_is_edited_removed_and_listed(two: Two, command: Command) -> None:
    edited = answer(command("message", "edit", two.chat_id, "1", "better"))["message"]
    assert (edited["text"], edited["senderId"]) == ("better", str(two.alice.id))
    assert answer(command("message", "remove", two.chat_id, "2"))["message"]["text"] == ""
    reply = two.bench.read()
    assert [one["text"] for one in reply.emitted("message_changed", two.bob.id)][-2:] == ["better", ""]
    page = answer(command("message", "list", two.bob.name, two.chat_id))
    assert [one["text"] for one in page["messages"]] == ["better", ""]
    page = answer(command("message", "list", two.bob.name, two.chat_id, "--after", "1", "--limit", "1"))
    assert [one["seq"] for one in page["messages"]] == [2]


def test_what_users_wrote_cannot_steer_the_terminal(two: Two, command: Command) -> None:
    words = "red \x9b31m, hidden \x9d0;x\x9c, reversed \u202e, \N{FAMILY}\U000e0041"
    two.send(two.alice, words)
    listed = command("message", "list", two.bob.name, two.chat_id, "--limit", "1")
    assert answer(listed)["messages"][0]["text"] == words
    assert listed.stdout.replace("\n", "").isprintable()


def test_a_user_is_made_renamed_and_shown(two: Two, command: Command) -> None:
    new, name = str(uuid.uuid4()), f"carol-{uuid.uuid4().hex[:8]}"
    made = answer(command("user", "put", new, "--username", name))["user"]
    assert (made["userId"], made["username"]) == (new, name)
    assert answer(command("user", "show", name)) == answer(command("user", "show", new))
    assert answer(command("user", "put", name, "--username", f"{name}-2"))["user"]["userId"] == new
    taken = the_one_line(command("user", "put", new, "--username", two.alice.name), 2)
    assert taken == "Error: user put was refused: Somebody else has this username. (username_taken)"


def test_a_user_is_signed_out_everywhere(two: Two, command: Command) -> None:
    two.bench.read()
    assert answer(command("user", "disconnect", two.alice.name))["signedOutAt"]
    (told,) = two.bench.read().emitted("error", two.alice.id)
    assert told["code"] == "unauthorized"


def test_a_user_blocks_another_and_takes_it_back(two: Two, command: Command) -> None:
    names = (two.alice.name, two.bob.name)
    answer(command("user", "block", *names))
    assert [one["userId"] for one in answer(command("user", "blocks", names[0]))["users"]] == [
        str(two.bob.id)
    ]
    refused = the_one_line(command("message", "send", names[1], names[0], SECRET), 2)
    assert refused.endswith("(not_allowed)")
    answer(command("user", "unblock", *names))
    (chat,) = answer(command("user", "chats", names[0], "--box", "inbox"))["chats"]
    assert chat["chatId"] == two.chat_id


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("user", "show", "nobody of this name"), "there is no user nobody of this name"),
        (("user", "show", NOBODY), "There is no such user. (user_not_found)"),
        (("user", "put", NOBODY), "Missing option '--username'"),
        (("message", "send", NOBODY, NOBODY), "(invalid_payload)"),
        (("message", "send", NOBODY, NOBODY, "hello"), "(profile_missing)"),
        (("message", "send", NOBODY, NOBODY, "hello", "--data", "[1]"), "`data` must be an object"),
        (("message", "send", NOBODY, NOBODY, "hello", "--data", "{"), "`data` is not valid"),
        (("message", "send", NOBODY, NOBODY, "hello", "--data", "[" * 5_000), "`data` is not valid"),
        (("message", "send", NOBODY, NOBODY, "\udcff"), "`text` is not valid: UnicodeEncodeError"),
        (("message", "edit", "chat", "1", "hello"), "`chatId` is not valid: Invalid UUID"),
        (("message", "edit", NOBODY, "first", "hello"), "`seq` is not valid"),
        (("message", "remove", NOBODY, "1"), "(chat_not_found)"),
        (("message", "list", NOBODY, NOBODY), "(chat_not_found)"),
        (("user", "chats", NOBODY, "--box", "attic"), "`box` is not valid"),
    ],
)
def test_what_cannot_be_done_is_one_line(command: Command, words: tuple[str, ...], told: str) -> None:
    assert told in the_one_line(command(*words), 2)


def test_an_unreachable_service_is_one_line(two: Two, command: Command) -> None:
    away = f"postgresql://nobody:secret-word@127.0.0.1:{free_port()}/none"
    nowhere = f"redis://:secret-word@127.0.0.1:{free_port()}/0"
    words = ("message", "send", str(two.alice.id), str(two.bob.id), SECRET)
    for settings in ({"DATABASE_URL": away}, {"REDIS_URL": nowhere}):
        result = command(*words, **settings)
        assert result.returncode == 1
        line = result.stderr.splitlines()[-1]
        assert line.startswith("Error: message send failed: ")
        assert "secret-word" not in result.stderr
        assert SECRET not in result.stderr


def test_a_setting_that_is_missing_is_named(command: Command) -> None:
    assert "BBGRAM_REDIS_URL" in the_one_line(command("user", "show", NOBODY, REDIS_URL=""), 2)
