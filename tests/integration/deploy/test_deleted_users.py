"""A user of the project who is deleted: what is left of them, and that their token brings nothing back."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.store.migrate import upgrade
from infra.store.profiles import DELETED_USERNAME
from infra.wire.errors import ErrorCode
from infra.wire.registry import WORKER_COMMANDS
from infra.wire.server_api import NOBODY
from tests.conftest import ClientFactory, Name
from tests.harness.deployment import Deployment, user_id_of
from tests.harness.engines import Engines
from tests.harness.supabase import SupabaseProject
from tests.harness.worker_bench import WorkerBench

ENSURING = [name for name, command in WORKER_COMMANDS.items() if command.ensures_profile]

KEPT = {"chats.user_lo", "chats.user_hi", "chat_members.user_id"}
"""Columns of rows that stay when their user is deleted: peers keep their chats."""
DELETED = {
    "devices.user_id": """
        INSERT INTO devices (id, user_id, channel, address)
        VALUES (gen_random_uuid(), :id, 'fcm', CAST(:id AS text))
    """,
    "notifications.user_id": """
        INSERT INTO notifications (id, user_id, chat_ids, first_seqs, last_seqs)
        VALUES (gen_random_uuid(), :id, '{}', '{}', '{}')
    """,
    "undelivered.user_id": """
        INSERT INTO undelivered (chat_id, user_id)
        SELECT chat_id, user_id FROM chat_members WHERE user_id = :id
    """,
}
"""Columns of rows that `profiles_keep_tombstone` deletes with their user; and how to make one."""

_REFERENCES = """
SELECT c.conrelid::regclass::text || '.' || a.attname AS name
FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
WHERE c.contype = 'f' AND c.confrelid = 'profiles'::regclass
"""


class World:
    """A chat with or without a Supabase project, and a worker that takes profiles from tokens."""

    def __init__(self, engines: Engines, linked: bool) -> None:
        self.project = SupabaseProject(engines) if linked else None
        if self.project:
            upgrade(self.project.database_url)
        self.store = self.project.store if self.project else engines.new_store()
        self.bench = WorkerBench(self.store)

    def add(self, username: str) -> uuid.UUID:
        """Let somebody sign up, and connect for the first time."""
        user_id = uuid.UUID(user_id_of(username))
        if self.project:
            self.project.sign_up(user_id=user_id)
        event = self.bench.event(user_id, "introduce", {"username": username})
        self.bench.ask(event).ack(event)
        return user_id

    def delete(self, user_id: uuid.UUID) -> None:
        """Delete a user: in the project, or where there is none in the chat."""
        if self.project:
            self.project.delete_user(user_id)
        else:
            self.bench.rows("DELETE FROM profiles WHERE id = :id", id=user_id)

    def count(self, column: str, user_id: uuid.UUID) -> int:
        """Return how many rows have the user in a column, `table.column`."""
        table = column.partition(".")[0]
        (row,) = self.bench.rows(f"SELECT count(*) FROM {table} WHERE {column} = :id", id=user_id)
        return int(row[0])

    def is_tombstone(self, user_id: uuid.UUID) -> bool:
        rows = self.bench.rows("SELECT * FROM profiles WHERE id = :id", id=user_id)
        return len(rows) == 1 and rows[0].deleted_at is not None and rows[0].username == DELETED_USERNAME


@pytest.fixture(scope="module", params=[True, False], ids=["project", "no project"])
def world(request: pytest.FixtureRequest, engines: Engines) -> Iterator[World]:
    world = World(engines, request.param)
    yield world
    world.bench.close()
    engines.release(world.store)


def test_peers_keep_the_chat_with_a_deleted_user(world: World, name: Name) -> None:
    alice, bob = world.add(name("alice")), world.add(name("bob"))
    bench = world.bench
    chat_id = bench.open_chat(alice, name("bob"))
    answer = bench.send(bob, name("alice"), "hello, alice")
    bench.ask(answer).ack(answer)
    world.delete(bob)
    chats, page = (
        bench.event(alice, "list_chats", {}),
        bench.event(alice, "get_messages", {"chatId": chat_id}),
    )
    reply = bench.ask(chats, page)
    (chat,) = reply.ack(chats)["chats"]
    assert chat["peer"]["username"] == "Deleted user"
    assert [message["text"] for message in reply.ack(page)["messages"]] == ["hello", "hello, alice"]
    assert [message["senderUsername"] for message in reply.ack(page)["messages"]] == [
        name("alice"),
        "Deleted user",
    ]


def test_what_belongs_to_a_deleted_user_alone_is_gone(world: World, name: Name) -> None:
    alice, bob = world.add(name("alice")), world.add(name("bob"))
    bench = world.bench
    bench.open_chat(bob, name("bob"))
    bench.open_chat(alice, name("bob"))
    for insert in DELETED.values():
        for user in (alice, bob):
            bench.rows(insert, id=user)
    assert all(world.count(column, bob) for column in DELETED)
    world.delete(bob)
    assert world.is_tombstone(bob)
    assert [world.count(column, bob) for column in DELETED] == [0] * len(DELETED)
    assert [world.count(column, alice) for column in DELETED] == [1] * len(DELETED)
    assert world.count("chat_members.user_id", bob) == 1


def test_reports_by_and_about_a_deleted_user_stay(world: World, name: Name) -> None:
    alice, bob = world.add(name("alice")), world.add(name("bob"))
    bench = world.bench
    chat_id = bench.open_chat(alice, name("bob"))
    answer = bench.send(bob, name("alice"), "hello, alice")
    bench.ask(answer).ack(answer)
    for user, seq in ((bob, 1), (alice, 2)):
        event = bench.event(user, "report", {"chatId": chat_id, "seq": seq, "reason": "spam"})
        bench.ask(event).ack(event)
    world.delete(bob)
    assert (world.count("reports.reporter_id", bob), world.count("reports.reported_id", bob)) == (1, 1)
    for user in (alice, bob):
        bench.rows("SELECT remove_profile(:id)", id=user)
    assert (world.count("reports.reporter_id", bob), world.count("reports.reported_id", bob)) == (1, 1)


def test_of_every_table_it_is_decided_what_becomes_of_the_rows_of_a_deleted_user(world: World) -> None:
    assert {row.name for row in world.bench.rows(_REFERENCES)} == KEPT | DELETED.keys()


@pytest.mark.parametrize("command", ENSURING)
def test_the_token_of_a_deleted_user_brings_nothing_back(world: World, name: Name, command: str) -> None:
    bob = world.add(name("bob"))
    world.delete(bob)
    event = world.bench.event(bob, command, {"username": name("bob"), "issuedAt": 4_000_000_000})
    assert world.bench.ask(event).failure(event).code is ErrorCode.PROFILE_MISSING
    assert world.is_tombstone(bob)
    assert world.bench.rows("SELECT * FROM dead_letters") == []


def test_a_deleted_user_writes_to_nobody_and_nobody_to_them(world: World, name: Name) -> None:
    alice, bob = world.add(name("alice")), world.add(name("bob"))
    chat_id = world.bench.open_chat(alice, name("bob"))
    world.delete(bob)
    from_bob = [
        world.bench.send(bob, name("alice"), "still here"),
        world.bench.event(bob, "join_chat", {"username": name("alice")}),
    ]
    to_bob = [world.bench.send(alice, username, "are you?") for username in (name("bob"), "Deleted user")]
    reply = world.bench.ask(*from_bob, *to_bob)
    assert {reply.failure(event).code for event in from_bob} == {ErrorCode.PROFILE_MISSING}
    assert {reply.failure(event).code for event in to_bob} == {ErrorCode.USER_NOT_FOUND}
    assert world.bench.seqs(chat_id) == [1]


def test_the_name_of_a_deleted_user_is_free(world: World, name: Name) -> None:
    bob = world.add(name("bob"))
    world.delete(bob)
    (row,) = world.bench.rows("SELECT put_profile(:id, :name)", id=world.add(name("carol")), name=name("bob"))
    assert row == ("ok",)


def test_a_deleted_profile_is_revived_for_a_user_only(world: World, name: Name) -> None:
    bob = world.add(name("bob"))
    world.delete(bob)
    revive = "SELECT put_profile(:id, :name) AS outcome"
    if world.project:
        assert world.bench.rows(revive, id=bob, name=name("bob")) == [("no_such_user",)]
        assert world.is_tombstone(bob)
        world.project.sign_up(user_id=bob)
    assert world.bench.rows(revive, id=bob, name=name("bob")) == [("ok",)]
    assert not world.is_tombstone(bob)


def test_a_repeated_deletion_changes_nothing(world: World, name: Name) -> None:
    alice, bob = world.add(name("alice")), world.add(name("bob"))
    chat_id = world.bench.open_chat(alice, name("bob"))
    for _ in range(3):
        world.bench.rows("DELETE FROM profiles WHERE id = :id", id=bob)
    assert world.is_tombstone(bob)
    assert world.bench.seqs(chat_id) == [1]


@pytest.mark.parametrize("deleted_before", [True, False])
def test_a_profile_is_removed_for_good_on_request(world: World, name: Name, deleted_before: bool) -> None:
    alice, bob, carol = (world.add(name(word)) for word in ("alice", "bob", "carol"))
    put = "SELECT put_profile(:id, :name)"
    world.bench.rows(put, id=carol, name=name("Bob"))
    chat_id, kept = world.bench.open_chat(alice, name("bob")), world.bench.open_chat(alice, name("carol"))
    if deleted_before:
        world.delete(bob)
    world.bench.rows("SELECT remove_profile(:id)", id=bob)
    assert world.count("profiles.id", bob) == 0
    assert [world.bench.seqs(chat_id), world.bench.seqs(kept)] == [[], [1]]
    (row,) = world.bench.rows("SELECT username FROM profiles WHERE id = :id", id=carol)
    assert row.username == name("Bob")
    world.bench.rows("DELETE FROM profiles WHERE id = :id", id=carol)
    assert world.is_tombstone(carol)


def test_removing_one_profile_removes_no_other(world: World, name: Name) -> None:
    alice, bob = world.add(name("alice")), world.add(name("bob"))
    with psycopg.connect(world.store.database_url.replace("+psycopg", "")) as conn:
        conn.execute("SELECT bbgram.remove_profile(%s)", (alice,))
        conn.execute("DELETE FROM bbgram.profiles WHERE id = %s", (bob,))
    assert (world.count("profiles.id", alice), world.is_tombstone(bob)) == (0, True)


def test_a_name_that_becomes_free_brings_no_deleted_user_back(world: World, name: Name) -> None:
    alice, bob = world.add(name("alice")), world.add(name("bob"))
    put = "SELECT put_profile(:id, :name) AS outcome"
    assert world.bench.rows(put, id=bob, name=name("Alice")) == [("taken",)]
    world.bench.rows("DELETE FROM profiles WHERE id = :id", id=bob)
    assert world.bench.rows("SELECT * FROM refused_names WHERE user_id = :id", id=bob) == []
    assert world.bench.rows(put, id=alice, name=name("other")) == [("ok",)]
    assert world.is_tombstone(bob)


def test_who_is_no_user_of_the_project_gets_no_profile(engines: Engines, world: World, name: Name) -> None:
    stranger = uuid.uuid4()
    event = world.bench.event(stranger, "introduce", {"username": name("eve")})
    failure = world.bench.ask(event).answers[event.id].failure
    assert (failure is not None) == (world.project is not None)
    assert world.count("profiles.id", stranger) == (0 if world.project else 1)


def test_the_apps_backend_gives_profiles_to_users_of_the_project_only(world: World, name: Name) -> None:
    stranger = {"userId": str(uuid.uuid4()), "username": name("eve")}
    event = world.bench.event(uuid.UUID(NOBODY), "put_user", stranger)
    failure = world.bench.ask(event).answers[event.id].failure
    assert (failure.code if failure else "ok") == ("user_not_found" if world.project else "ok")


async def test_a_deleted_user_who_connects_is_told_that_they_have_no_profile(
    world: World, name: Name, tmp_path: Path, client: ClientFactory
) -> None:
    bob = world.add(name("bob"))
    world.delete(bob)
    deployment = Deployment(world.store, tmp_path, forked=True)
    try:
        deployment.start(beat=False)
        for _ in range(2):
            socket = await client(name("bob")).connect(deployment.edges[0], wait_for_workers=False)
            error = await socket.expect("error")
            assert (error["code"], error["retryable"]) == ("profile_missing", False)
            ack = await socket.send(name("bob"), "a note")
            assert (ack["success"], ack["code"]) == (False, "profile_missing")
    finally:
        deployment.stop()
    assert world.is_tombstone(bob)
    assert world.bench.rows("SELECT * FROM dead_letters") == []
