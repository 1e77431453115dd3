"""A user of the project who is deleted: what is left of them, and that their token brings nothing back."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.store.migrate import upgrade
from infra.wire.errors import ErrorCode
from infra.wire.registry import WORKER_COMMANDS
from tests.conftest import ClientFactory, Name
from tests.harness.deployment import Deployment, user_id_of
from tests.harness.engines import Engines
from tests.harness.supabase import SupabaseProject
from tests.harness.worker_bench import WorkerBench

ENSURING = [name for name, command in WORKER_COMMANDS.items() if command.ensures_profile]


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

    def count(self, table: str, user_id: uuid.UUID) -> int:
        column = "id" if table == "profiles" else "user_id"
        (row,) = self.bench.rows(f"SELECT count(*) FROM {table} WHERE {column} = :id", id=user_id)
        return int(row[0])

    def add_notification(self, user_id: uuid.UUID, chat_id: str) -> None:
        """Let a message of a chat be undelivered, and a notification about it be open."""
        self.bench.rows(
            "INSERT INTO undelivered (chat_id, user_id) VALUES (:chat, :user)", chat=chat_id, user=user_id
        )
        self.bench.rows(
            "INSERT INTO notifications (id, user_id, chat_ids, first_seqs, last_seqs)"
            " VALUES (gen_random_uuid(), :user, ARRAY[CAST(:chat AS uuid)], '{1}', '{1}')",
            chat=chat_id,
            user=user_id,
        )

    def is_tombstone(self, user_id: uuid.UUID) -> bool:
        rows = self.bench.rows("SELECT * FROM profiles WHERE id = :id", id=user_id)
        return len(rows) == 1 and rows[0].deleted_at is not None and rows[0].username == "Deleted user"


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
    chat_id = bench.open_chat(alice, name("bob"))
    for user in (alice, bob):
        device = bench.event(user, "register_device", {"channel": "fcm", "address": f"token-{user}"})
        bench.ask(device).ack(device)
        world.add_notification(user, chat_id)
        assert [world.count(table, user) for table in ("notifications", "undelivered")] == [1, 1]
    world.delete(bob)
    assert world.is_tombstone(bob)
    assert (world.count("devices", bob), world.count("devices", alice)) == (0, 1)
    assert world.count("chat_members", bob) == 1
    assert [world.count(table, bob) for table in ("notifications", "undelivered")] == [0, 0]
    assert [world.count(table, alice) for table in ("notifications", "undelivered")] == [1, 1]


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


def test_who_is_no_user_of_the_project_gets_no_profile(engines: Engines, world: World, name: Name) -> None:
    stranger = uuid.uuid4()
    event = world.bench.event(stranger, "introduce", {"username": name("eve")})
    failure = world.bench.ask(event).answers[event.id].failure
    assert (failure is not None) == (world.project is not None)
    assert world.count("profiles", stranger) == (0 if world.project else 1)


async def test_a_deleted_user_who_connects_is_told_that_they_have_no_profile(
    world: World, name: Name, tmp_path: Path, client: ClientFactory
) -> None:
    bob = world.add(name("bob"))
    world.delete(bob)
    deployment = Deployment(world.store, tmp_path)
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
