"""Dead letters: listed without texts, shown, replayed once their cause is fixed, dropped."""

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import text

from infra.store.engine import make_engine
from infra.wire.batch import Event
from infra.wire.errors import ErrorCode
from infra.wire.registry import COMMANDS
from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.engines import Store, free_port
from tests.harness.stack import bbgram
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory
from workers import dead_letters
from workers.batch_processor import BatchProcessor, Unreachable
from workers.dead_letters import Letter, all_ids, find, newest
from workers.replay import Replay, replay

SECRET = "poison, and a secret"
BREAK = f"ALTER TABLE messages ADD CONSTRAINT no_poison CHECK (text <> '{SECRET}') NOT VALID"
MEND = "ALTER TABLE messages DROP CONSTRAINT IF EXISTS no_poison"
NOBODY = str(uuid.UUID(int=0))


@pytest.fixture
def poisoned_bench(make_bench: BenchFactory) -> Iterator[WorkerBench]:
    """A bench whose database refuses to store one text, with no dead letters yet."""
    bench = make_bench()
    bench.rows("TRUNCATE dead_letters")
    with bench.refusing(SECRET):
        yield bench


def bury(bench: WorkerBench, *events: Event) -> list[Letter]:
    """Have events fail that the database refuses; return their letters."""
    reply = bench.ask(*events)
    assert {reply.failure(event).code for event in events} == {ErrorCode.INTERNAL}
    return [letter(bench, event) for event in events]


def keep(bench: WorkerBench, event: Event) -> Letter:
    """Make a letter of an event that nothing is wrong with."""
    dead_letters.keep(bench.engine, event, RuntimeError("a bug"))
    return letter(bench, event)


def letter(bench: WorkerBench, event: Event) -> Letter:
    found = find(bench.engine, event.id)
    assert found is not None
    return found


def again(bench: WorkerBench, one: Letter) -> Replay:
    return replay(bench.worker_engine, bench.processor, one)


def stored(bench: WorkerBench, sender: uuid.UUID) -> list[Any]:
    return bench.rows("SELECT id, text FROM messages WHERE sender_id = :sender ORDER BY seq", sender=sender)


def test_letters_are_listed_newest_first_without_what_their_senders_wrote(
    poisoned_bench: WorkerBench,
) -> None:
    (alice, _), (_, bob) = poisoned_bench.people("alice", "bob")
    events = [poisoned_bench.send(alice, bob, SECRET) for _ in range(3)]
    for event in events:
        bury(poisoned_bench, event)
    listed = newest(poisoned_bench.engine, 2)
    assert [(one.id, one.event, one.user_id) for one in listed] == [
        (event.id, "send_message", str(alice)) for event in (events[2], events[1])
    ]
    assert all("no_poison" in one.error for one in listed)
    assert "secret" not in repr(listed)


def test_a_letter_is_found_with_its_payload_and_its_whole_error(poisoned_bench: WorkerBench) -> None:
    (alice, _), (_, bob) = poisoned_bench.people("alice", "bob")
    event = poisoned_bench.send(alice, bob, SECRET)
    (found,) = bury(poisoned_bench, event)
    assert found.payload.encode() == bytes(event.payload)
    assert found.headline == newest(poisoned_bench.engine, 1)[0].error
    assert len(found.error) > len(found.headline)
    assert find(poisoned_bench.engine, NOBODY) is None


def test_a_letter_whose_cause_is_fixed_is_stored_once_delivered_and_removed(
    poisoned_bench: WorkerBench,
) -> None:
    (alice, _), (bob, bobs_name) = poisoned_bench.people("alice", "bob")
    poisoned_bench.open_edge(f"{poisoned_bench.edge_id}-bobs")
    poisoned_bench.connect(bob, f"{poisoned_bench.edge_id}-bobs")
    event = poisoned_bench.send(alice, bobs_name, SECRET)
    (dead,) = bury(poisoned_bench, event)
    poisoned_bench.accept()
    assert again(poisoned_bench, dead) == Replay(dead, True, "replayed")
    assert stored(poisoned_bench, alice) == [(uuid.UUID(event.id), SECRET)]
    (delivered,) = poisoned_bench.read(f"{poisoned_bench.edge_id}-bobs").emitted("new_message", bob)
    assert (delivered["id"], delivered["text"], delivered["seq"]) == (event.id, SECRET, 1)
    assert poisoned_bench.read().entries == [], "nobody asks any more, so there is nobody to answer"
    assert all_ids(poisoned_bench.engine) == []


def test_a_letter_that_fails_again_stays_with_its_newest_error(poisoned_bench: WorkerBench) -> None:
    (alice, _), (_, bob) = poisoned_bench.people("alice", "bob")
    (dead,) = bury(poisoned_bench, poisoned_bench.send(alice, bob, SECRET))
    poisoned_bench.rows("ALTER TABLE messages RENAME CONSTRAINT no_poison TO still_no_poison")
    result = again(poisoned_bench, dead)
    poisoned_bench.rows("ALTER TABLE messages RENAME CONSTRAINT still_no_poison TO no_poison")
    assert not result.done
    assert result.outcome.startswith("failed again: IntegrityError")
    assert "still_no_poison" in result.outcome
    assert "secret" not in result.outcome
    (kept,) = newest(poisoned_bench.engine, 10)
    assert (kept.id, kept.created_at) == (dead.id, dead.created_at)
    assert "still_no_poison" in kept.error
    assert stored(poisoned_bench, alice) == []


def test_a_replay_that_could_not_be_published_is_repeated_and_stores_nothing_twice(
    poisoned_bench: WorkerBench, make_bench: BenchFactory
) -> None:
    (alice, _), (bob, bobs_name) = poisoned_bench.people("alice", "bob")
    poisoned_bench.connect(bob)
    (dead,) = bury(poisoned_bench, poisoned_bench.send(alice, bobs_name, SECRET))
    poisoned_bench.accept()
    without_redis = make_bench(redis=Redis(port=free_port(), retry=Retry(NoBackoff(), 0)))
    with pytest.raises(RedisError):
        again(without_redis, dead)
    assert len(stored(poisoned_bench, alice)) == 1
    assert all_ids(poisoned_bench.engine) == [dead.id]
    for _ in range(2):
        assert again(poisoned_bench, dead).done
    assert len(stored(poisoned_bench, alice)) == 1
    assert {message["seq"] for message in poisoned_bench.read().emitted("new_message", bob)} == {1}
    assert all_ids(poisoned_bench.engine) == []


def test_a_message_sent_again_in_the_meantime_is_not_stored_twice(poisoned_bench: WorkerBench) -> None:
    (alice, _), (_, bob) = poisoned_bench.people("alice", "bob")
    (dead,) = bury(poisoned_bench, poisoned_bench.send(alice, bob, SECRET, clientId="hers"))
    poisoned_bench.accept()
    retry = poisoned_bench.send(alice, bob, SECRET, clientId="hers")
    poisoned_bench.ask(retry)
    assert again(poisoned_bench, dead).done
    assert stored(poisoned_bench, alice) == [(uuid.UUID(retry.id), SECRET)]


def test_letters_are_replayed_in_the_order_of_their_events(poisoned_bench: WorkerBench) -> None:
    (alice, _), (_, bob) = poisoned_bench.people("alice", "bob")
    events = [poisoned_bench.send(alice, bob, SECRET) for _ in range(10)]
    for event in reversed(events):
        bury(poisoned_bench, event)
    assert all_ids(poisoned_bench.engine) == [event.id for event in events]


def test_an_event_that_is_refused_now_stays(poisoned_bench: WorkerBench) -> None:
    alice, _ = poisoned_bench.person("alice")
    dead = keep(poisoned_bench, poisoned_bench.send(alice, "nobody_has_this_name", "hello"))
    result = again(poisoned_bench, dead)
    assert result.outcome == "not possible: user_not_found, There is no such user."
    assert not result.done
    assert all_ids(poisoned_bench.engine) == [dead.id]


def test_a_letter_that_needs_a_locked_row_stays(poisoned_bench: WorkerBench) -> None:
    (alice, _), (_, bob) = poisoned_bench.people("alice", "bob")
    chat_id = poisoned_bench.open_chat(alice, bob)
    dead = keep(poisoned_bench, poisoned_bench.send(alice, bob, "waits"))
    with poisoned_bench.engine.connect() as blocker, blocker.begin():
        blocker.execute(text("SELECT 1 FROM chats WHERE id = :id FOR UPDATE"), {"id": chat_id})
        result = again(poisoned_bench, dead)
    assert result.outcome.startswith("not possible: unavailable")
    assert all_ids(poisoned_bench.engine) == [dead.id]
    assert again(poisoned_bench, dead).done


def test_a_read_mark_tells_every_socket_of_both(poisoned_bench: WorkerBench) -> None:
    (alice, _), (bob, bobs_name) = poisoned_bench.people("alice", "bob")
    poisoned_bench.connect(alice)
    poisoned_bench.connect(bob)
    chat_id = poisoned_bench.open_chat(alice, bobs_name)
    dead = keep(poisoned_bench, poisoned_bench.event(bob, "mark_as_read", {"chatId": chat_id, "upTo": 1}))
    assert again(poisoned_bench, dead).done
    reply = poisoned_bench.read()
    assert [reply.emitted("message_status", user)[0]["upTo"] for user in (alice, bob)] == [1, 1]


STALE = {
    "typing": {"username": "bob", "isTyping": True},
    "register_device": {"channel": "fcm", "address": "token"},
    "mark_as_read": {"chatId": NOBODY},
    "edit_message": {"chatId": NOBODY, "seq": 1, "text": "hi"},
    "put_user": {"userId": NOBODY, "username": "bob"},
    "disconnect_user": {"userId": NOBODY},
    "erase_user": {"userId": NOBODY, "mode": "delete"},
    "revise_message": {"chatId": NOBODY, "seq": 1, "text": "hi"},
    "react": {"chatId": NOBODY, "seq": 1, "emoji": "👍", "on": True},
    "clear_chat": {"chatId": NOBODY},
    "block_user": {"username": "bob"},
    "unblock_user": {"username": "bob"},
    "update_settings": {"messagesFrom": "nobody"},
    "accept_chat": {"chatId": NOBODY},
    "set_chat": {"chatId": NOBODY, "pinned": True},
}
"""A payload of each command that must not be replayed later."""


def test_every_command_that_goes_stale_has_a_payload_here() -> None:
    assert STALE.keys() == {
        command.name for command in COMMANDS.values() if command.is_ephemeral or command.stale_because
    }


@pytest.mark.parametrize(("name", "payload"), STALE.items())
def test_an_event_whose_meaning_has_changed_is_left_to_an_operator(
    poisoned_bench: WorkerBench, name: str, payload: dict[str, Any]
) -> None:
    alice, _ = poisoned_bench.person("alice")
    dead = keep(poisoned_bench, poisoned_bench.event(alice, name, payload))
    result = again(poisoned_bench, dead)
    assert result.outcome.startswith("too late: ")
    assert not result.done
    assert all_ids(poisoned_bench.engine) == [dead.id]


@pytest.mark.parametrize("lossy", [b"\xff", b"\xed\xa0\x80"])
def test_bytes_that_a_payload_has_lost_were_in_fields_that_nobody_reads(
    poisoned_bench: WorkerBench, lossy: bytes
) -> None:
    (alice, _), (_, bob) = poisoned_bench.people("alice", "bob")
    sent = msgspec.json.encode({"username": bob, "text": SECRET, "unread": "?", "te?xt": "?"})
    event = poisoned_bench.event(alice, "send_message", sent.replace(b"?", lossy))
    (dead,) = bury(poisoned_bench, event)
    assert "\N{REPLACEMENT CHARACTER}" in dead.payload
    poisoned_bench.accept()
    assert again(poisoned_bench, dead).done
    assert stored(poisoned_bench, alice) == [(uuid.UUID(event.id), SECRET)]


def test_without_postgres_a_replay_says_so(poisoned_bench: WorkerBench) -> None:
    alice, _ = poisoned_bench.person("alice")
    nowhere = make_engine(f"postgresql+psycopg://nobody:x@127.0.0.1:{free_port()}/nothing")
    with pytest.raises(Unreachable):
        BatchProcessor(nowhere, poisoned_bench.publisher, poisoned_bench.context).process_alone(
            poisoned_bench.send(alice, "bob", "hello")
        )


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def letters(bench_store: Store, tmp_path: Path) -> Command:
    """Return a function that runs `bbgram dead-letters` to its end; settings can be replaced."""

    def run(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        urls = {"DATABASE_URL": bench_store.database_url, "REDIS_URL": bench_store.redis_url}
        env = {f"BBGRAM_{name}": value for name, value in {**urls, **settings}.items()}
        return bbgram("dead-letters", *words, env={"BBGRAM_DATA_DIR": str(tmp_path), **env})

    return run


def the_one_line(result: subprocess.CompletedProcess[str], code: int) -> str:
    assert (result.returncode, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_an_operator_sees_shows_replays_and_drops(poisoned_bench: WorkerBench, letters: Command) -> None:
    (alice, _), (_, bob) = poisoned_bench.people("alice", "bob")
    events = [poisoned_bench.send(alice, bob, SECRET), poisoned_bench.send(alice, bob, SECRET)]
    first, second = bury(poisoned_bench, *events)

    table = letters()
    head, *lines = table.stdout.splitlines()
    assert head.split() == ["ID", "WHEN", "EVENT", "USER", "ID", "ERROR"]
    assert {line.split()[0] for line in lines} == {first.id, second.id}
    assert "secret" not in table.stdout + letters("--json").stdout
    limited = letters("--limit", "1").stdout.splitlines()
    assert (len(limited), limited[2]) == (3, "there are older ones; --limit shows more")

    page = letters("show", first.id).stdout
    assert first.payload in page
    assert "Failing row contains" in page
    assert json.loads(letters("show", first.id, "--json").stdout)["payload"] == first.payload

    failed = letters("replay", "--all")
    assert failed.returncode == 1
    assert [line.split()[:4] for line in failed.stdout.splitlines()] == [
        [one.id, "send_message", "failed", "again:"] for one in (first, second)
    ]
    assert "Traceback" not in failed.stderr
    assert "secret" not in failed.stdout + failed.stderr

    assert letters("drop", second.id).stdout == f"{second.id}  dropped\n"
    poisoned_bench.accept()
    replayed = letters("replay", first.id)
    assert (replayed.returncode, replayed.stdout) == (0, f"{first.id}  send_message  replayed\n")
    assert stored(poisoned_bench, alice) == [(uuid.UUID(first.id), SECRET)]
    assert letters().stdout == letters("replay", "--all").stdout == "there are no dead letters\n"


def test_an_unknown_letter_is_reported_and_nothing_is_done(
    poisoned_bench: WorkerBench, letters: Command
) -> None:
    (alice, _), (_, bob) = poisoned_bench.people("alice", "bob")
    (dead,) = bury(poisoned_bench, poisoned_bench.send(alice, bob, SECRET))
    poisoned_bench.accept()
    for words in (("show", NOBODY), ("replay", dead.id, NOBODY), ("drop", dead.id, NOBODY)):
        assert f"there is no dead letter {NOBODY}" in the_one_line(letters(*words), 2)
    assert all_ids(poisoned_bench.engine) == [dead.id]
    assert stored(poisoned_bench, alice) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show",), "Missing argument 'ID'"),
        (("show", "12"), "'12' is not a valid UUID"),
        (("drop",), "Missing argument 'ID...'"),
        (("replay",), "give ids, or --all"),
        (("replay", "--all", NOBODY), "give ids, or --all"),
        (("--limit", "0"), "Invalid value for '--limit'"),
        (("burn",), "No such command 'burn'"),
    ],
)
def test_wrong_usage_is_one_line(letters: Command, words: tuple[str, ...], told: str) -> None:
    assert told in the_one_line(letters(*words), 2)


def test_a_wrong_setting_is_named(letters: Command) -> None:
    assert "BBGRAM_DATABASE_URL is wrong" in the_one_line(letters(DATABASE_URL="mysql://x"), 2)
    assert "BBGRAM_REDIS_URL is wrong" in the_one_line(letters("replay", "--all", REDIS_URL="x"), 2)


@pytest.mark.parametrize("words", [(), ("show", NOBODY), ("replay", "--all"), ("drop", NOBODY)])
def test_an_unreachable_database_is_one_line(letters: Command, words: tuple[str, ...]) -> None:
    away = f"postgresql://nobody:secret-word@127.0.0.1:{free_port()}/none"
    line = the_one_line(letters(*words, DATABASE_URL=away), 1)
    assert line.startswith("Error: dead-letters failed: ")
    assert "secret-word" not in line


def test_without_redis_a_replay_is_one_line_and_the_letter_stays(
    poisoned_bench: WorkerBench, letters: Command
) -> None:
    (alice, _), (_, bob) = poisoned_bench.people("alice", "bob")
    (dead,) = bury(poisoned_bench, poisoned_bench.send(alice, bob, SECRET))
    poisoned_bench.accept()
    away = f"redis://:secret-word@127.0.0.1:{free_port()}/0"
    line = the_one_line(letters("replay", dead.id, REDIS_URL=away), 1)
    assert line.startswith("Error: dead-letters failed: ")
    assert "secret-word" not in line
    assert all_ids(poisoned_bench.engine) == [dead.id]


def test_nothing_that_a_terminal_would_obey_is_printed(poisoned_bench: WorkerBench, letters: Command) -> None:
    alice, _ = poisoned_bench.person("alice")
    dead = keep(poisoned_bench, poisoned_bench.send(alice, "bob", "red \N{CONTROL SEQUENCE INTRODUCER}31m"))
    poisoned_bench.rows("UPDATE dead_letters SET error = :error", error="Oops: \x1b[2J and \x9b2J")
    for shown in (letters(), letters("show", dead.id)):
        assert shown.returncode == 0
        assert all(char.isprintable() or char == "\n" for char in shown.stdout)
    assert r"red \x9b31m" in letters("show", dead.id).stdout


async def test_a_recipient_gets_a_replayed_message_though_its_sender_is_gone(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy().start(beat=False)
    alice = await client(name("alice")).connect(chat.edges[0])
    bob = await client(name("bob")).connect(chat.edges[0])
    chat.rows(BREAK)
    assert (await alice.send(bob.username, SECRET))["code"] == "internal"
    await alice.close()
    (dead,) = json.loads(chat.run("dead-letters", "--json"))
    assert (dead["event"], dead["user_id"]) == ("send_message", alice.user_id)
    chat.rows(MEND)
    assert chat.run("dead-letters", "replay", dead["id"]) == f"{dead['id']}  send_message  replayed\n"
    message = await bob.expect("new_message")
    assert (message["id"], message["text"]) == (dead["id"], SECRET)
    assert chat.run("dead-letters") == "there are no dead letters\n"
