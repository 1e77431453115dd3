"""The registry is complete, and says what is true of each command."""

import re

import msgspec
import pytest

from infra.wire import commands
from infra.wire.registry import (
    CLIENT_COMMANDS,
    COMMANDS,
    INTERNAL_COMMANDS,
    SERVER_EVENTS,
    WORKER_COMMANDS,
    Command,
)


def test_every_payload_of_a_command_is_registered_once() -> None:
    payloads = [command.payload for command in COMMANDS.values()]
    defined = {
        struct
        for struct in vars(commands).values()
        if isinstance(struct, type)
        and issubclass(struct, commands._Command)
        and not struct.__name__.startswith("_")
    }
    parts = {commands.PushKeys, commands.Cursor, commands.WithData}
    assert set(payloads) == defined - parts
    assert len(payloads) == len(set(payloads))


def test_a_command_comes_from_clients_or_from_edges() -> None:
    assert CLIENT_COMMANDS | INTERNAL_COMMANDS == COMMANDS
    assert not CLIENT_COMMANDS.keys() & INTERNAL_COMMANDS.keys()


def test_workers_handle_all_but_what_the_edge_answers_itself() -> None:
    assert COMMANDS.keys() - WORKER_COMMANDS.keys() == {"refresh_token"}


@pytest.mark.parametrize("command", [*COMMANDS.values(), *SERVER_EVENTS.values()], ids=lambda one: one.name)
def test_each_has_a_name_in_snake_case_and_one_sentence(command: Command) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", command.name)
    assert re.fullmatch(r"[A-Z][^\n]*\.", command.summary)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_what_ensures_a_profile_carries_a_username_and_comes_from_edges(command: Command) -> None:
    fields = {field.name for field in msgspec.structs.fields(command.payload)}
    assert not command.ensures_profile or ("username" in fields and command.is_internal)
