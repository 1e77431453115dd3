"""A user is found in any spelling of a name that has at most 64 characters once it is folded."""

import random
import uuid
from collections.abc import Callable
from typing import Any
from unicodedata import normalize

import pytest

from infra.store.profiles import username_key
from infra.wire.commands import MAX_SPELLING
from infra.wire.errors import ErrorCode
from tests.harness.worker_bench import WorkerBench

LETTERS = "éếộøñç각한힣ΐΰйがグपकшї"
SPELLINGS: dict[str, Callable[[str], str]] = {
    "composed": lambda name: normalize("NFC", name),
    "decomposed": lambda name: normalize("NFD", name),
    "decomposed for compatibility": lambda name: normalize("NFKD", name),
    "capitals": lambda name: normalize("NFD", name.upper()),
    "with invisible characters": "\u200b".join,
    "decomposed, with invisible characters": lambda name: "\u2060".join(normalize("NFD", name)),
    "with joiners": "\u200d".join,
    "spaces around": lambda name: " " * 60 + name + "\u2003" * 60,
}
ABOUT_A_USER: dict[str, dict[str, Any]] = {
    "send_message": {"text": "hi"},
    "join_chat": {},
    "typing": {"isTyping": True},
}


def name_of_64() -> str:
    """Return a name of 64 letters, most of which decompose into two or three characters."""
    name = "".join(random.choices(LETTERS, k=64))
    assert len(username_key(name)) == 64
    return name


def take_from_token(bench: WorkerBench, user: uuid.UUID, name: str) -> None:
    asked = bench.event(user, "introduce", {"username": name})
    bench.ask(asked).ack(asked)


def take_from_app(bench: WorkerBench, user: uuid.UUID, name: str) -> None:
    assert bench.rows("SELECT put_profile(:user, :name)", user=user, name=name) == [("ok",)]


WAYS = {"token": take_from_token, "app": take_from_app}


@pytest.mark.parametrize("take", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("written", ["composed", "decomposed"])
def test_a_user_is_found_in_any_spelling(bench: WorkerBench, take: Any, written: str) -> None:
    user, name = uuid.uuid4(), name_of_64()
    shown = SPELLINGS[written](name)
    take(bench, user, shown)
    (alice, _) = bench.person("alice")
    asked = {
        (spelling, command): bench.event(alice, command, {"username": spell(name), **more})
        for spelling, spell in SPELLINGS.items()
        for command, more in ABOUT_A_USER.items()
    }
    reply = bench.ask(*asked.values())
    for (spelling, command), event in asked.items():
        ack = reply.ack(event)
        if command == "send_message":
            assert ack["message"]["recipientId"] == str(user), spelling
            assert ack["message"]["recipientUsername"] == shown
        elif command == "join_chat":
            assert (ack["peer"]["userId"], ack["peer"]["username"]) == (str(user), shown), spelling


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_nobody_takes_the_name_of_another_in_another_spelling(bench: WorkerBench, spelling: str) -> None:
    holder, other, name = uuid.uuid4(), uuid.uuid4(), name_of_64()
    take_from_app(bench, holder, name)
    (outcome,) = bench.rows("SELECT put_profile(:user, :name)", user=other, name=SPELLINGS[spelling](name))
    assert outcome[0] in ("taken", "not_allowed")
    asked = bench.event(other, "introduce", {"username": SPELLINGS[spelling](name)})
    assert bench.ask(asked).failure(asked).code is ErrorCode.PROFILE_MISSING


TOO_LONG = {
    "as it is": "x" * 65,
    "decomposed": "e\u0301" * 65,
    "with joiners": "\u0dc1\u0dca\u200d\u0dbb" * 22,
    "in all": "a" + "\ufe0f" * MAX_SPELLING,
}


@pytest.mark.parametrize("name", TOO_LONG.values(), ids=TOO_LONG)
def test_a_name_that_is_too_long_is_refused_everywhere(bench: WorkerBench, name: str) -> None:
    user, (alice, _) = uuid.uuid4(), bench.person("alice")
    assert bench.rows("SELECT put_profile(:user, :name)", user=user, name=name) == [("not_allowed",)]
    asked = bench.event(user, "introduce", {"username": name})
    assert bench.ask(asked).failure(asked).code is ErrorCode.PROFILE_MISSING
    for command, more in ABOUT_A_USER.items():
        asked = bench.event(alice, command, {"username": name, **more})
        assert bench.ask(asked).failure(asked).code is ErrorCode.INVALID_PAYLOAD


@pytest.mark.parametrize("take", WAYS.values(), ids=WAYS)
def test_a_name_keeps_its_joiners_and_is_found_without_them(bench: WorkerBench, take: Any) -> None:
    tag = "".join(random.choices("\u0d9a\u0d9c\u0da7\u0dad\u0db1\u0db4\u0db8\u0dba\u0dbd\u0dc0", k=20))
    user, shown = uuid.uuid4(), f"\u0dc1\u0dca\u200d\u0dbb\u0dd3 {tag}"
    take(bench, user, shown)
    (alice, _) = bench.person("alice")
    for username in (shown, shown.replace("\u200d", ""), shown.replace("\u200d", "\u200c")):
        asked = bench.send(alice, username, "ayubowan")
        assert bench.ask(asked).ack(asked)["message"]["recipientUsername"] == shown
