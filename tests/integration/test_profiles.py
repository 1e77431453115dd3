"""Profiles are created before users act, for every command that carries the username of a token."""

import uuid
from typing import Any

import pytest

from infra.wire.errors import ErrorCode
from infra.wire.registry import WORKER_COMMANDS
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory

ENSURING = [name for name, command in WORKER_COMMANDS.items() if command.ensures_profile]


def username_of(bench: WorkerBench, user_id: uuid.UUID) -> str | None:
    rows = bench.rows("SELECT username FROM profiles WHERE id = :id", id=user_id)
    return rows[0].username if rows else None


@pytest.fixture
def newcomer(bench: WorkerBench) -> tuple[uuid.UUID, str]:
    return uuid.uuid4(), f"new_{bench.edge_id}"


@pytest.mark.parametrize("name", ENSURING)
def test_a_newcomer_gets_the_profile_of_their_token(
    bench: WorkerBench, newcomer: tuple[uuid.UUID, str], name: str
) -> None:
    user_id, username = newcomer
    event = bench.event(user_id, name, {"username": username})
    assert bench.ask(event).answers[event.id].failure is None
    assert username_of(bench, user_id) == username


@pytest.mark.parametrize("name", ENSURING)
@pytest.mark.parametrize("payload", [{}, {"username": ""}, {"username": "\u202e"}])
def test_without_a_proper_name_there_is_no_profile(
    bench: WorkerBench, name: str, payload: dict[str, Any]
) -> None:
    user_id = uuid.uuid4()
    event = bench.event(user_id, name, payload)
    assert bench.ask(event).failure(event).code is ErrorCode.PROFILE_MISSING
    assert username_of(bench, user_id) is None


@pytest.mark.parametrize("name", ENSURING)
def test_a_name_that_is_taken_is_left_to_its_owner(bench: WorkerBench, name: str) -> None:
    _, taken = bench.person("bob")
    user_id = uuid.uuid4()
    event = bench.event(user_id, name, {"username": taken.upper()})
    assert bench.ask(event).failure(event).code is ErrorCode.PROFILE_MISSING
    assert username_of(bench, user_id) is None


def test_where_profiles_come_from_elsewhere_none_is_created(make_bench: BenchFactory) -> None:
    bench = make_bench(provision_profiles=False)
    known, _ = bench.person("bob")
    stranger = uuid.uuid4()
    events = [bench.event(user_id, "catch_up", {"username": "somebody"}) for user_id in (known, stranger)]
    reply = bench.ask(*events)
    assert reply.ack(events[0])["messages"] == []
    assert reply.failure(events[1]).code is ErrorCode.PROFILE_MISSING


def test_a_profile_is_there_for_a_send_of_the_same_batch(
    bench: WorkerBench, newcomer: tuple[uuid.UUID, str]
) -> None:
    user_id, username = newcomer
    _, bob = bench.person("bob")
    send = bench.send(user_id, bob, "hello")
    reply = bench.ask(send, bench.event(user_id, "introduce", {"username": username}))
    assert reply.ack(send)["message"]["senderUsername"] == username


def test_a_user_without_a_profile_costs_the_others_nothing(bench: WorkerBench) -> None:
    bob, bobs_name = bench.person("bob")
    good = bench.event(bob, "catch_up", {"username": bobs_name})
    bad = bench.event(uuid.uuid4(), "catch_up", {})
    reply = bench.ask(bad, good)
    assert reply.ack(good)["messages"] == []
    assert reply.failure(bad).code is ErrorCode.PROFILE_MISSING
