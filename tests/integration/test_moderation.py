"""The app's own backend edits and removes anybody's message, in ways that users themselves may not."""

import uuid
from typing import Any

import pytest

from infra.wire.errors import ErrorCode
from infra.wire.server_api import NOBODY
from tests.harness.talk import Talk
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory

BACKEND = uuid.UUID(NOBODY)
YEAR_S = 31_536_000
REVISE: tuple[str, dict[str, Any]] = ("revise_message", {"text": "[masked]"})
REMOVE: tuple[str, dict[str, Any]] = ("remove_message", {})
both = pytest.mark.parametrize(("command", "payload"), [REVISE, REMOVE])


@pytest.fixture
def talk(bench: WorkerBench) -> Talk:
    return Talk.start(bench)


def test_a_removed_message_is_what_is_left_of_an_unsent_one(talk: Talk) -> None:
    talk.send(talk.alice, "secret", data={"a": 1})
    talk.react(talk.bob, 1, "\U0001f44d")
    removed = talk.ask(BACKEND, "remove_message", seq=1)["message"]
    talk.send(talk.bob, "fine")
    unsent = talk.unsend(talk.bob, 2)
    assert removed.keys() == unsent.keys()
    row = talk.row(1)
    assert (row.text, row.data, row.reactions, row.change) == ("", None, None, 2)
    assert row.deleted_at is not None
    assert talk.page(talk.bob)[0] == removed


def test_a_revised_message_says_something_else(talk: Talk) -> None:
    sent = talk.send(talk.alice, "rude", data={"a": 1})
    revised = talk.ask(BACKEND, "revise_message", seq=1, text="[masked]")["message"]
    assert revised == {**sent, "text": "[masked]", "change": 1, "editedAt": revised["editedAt"]}
    without = talk.ask(BACKEND, "revise_message", seq=1, text="[masked]", data=None)["message"]
    assert "data" not in without
    assert talk.page(talk.alice) == [without]


@both
def test_both_users_are_told(talk: Talk, command: str, payload: dict[str, Any]) -> None:
    talk.send(talk.alice)
    event = talk.event(BACKEND, command, seq=1, **payload)
    reply = talk.bench.ask(event)
    message = reply.ack(event)["message"]
    for user in (talk.alice, talk.bob):
        assert reply.emitted("message_changed", user) == [message]


@both
def test_a_repeated_request_changes_nothing_and_tells_both_again(
    talk: Talk, command: str, payload: dict[str, Any]
) -> None:
    talk.send(talk.alice)
    event = talk.event(BACKEND, command, seq=1, **payload)
    first = talk.bench.ask(event).ack(event)
    again = talk.bench.ask(event)
    assert again.ack(event) == first
    assert again.emitted("message_changed", talk.bob) == [first["message"]]
    assert talk.ask(BACKEND, command, seq=1, **payload) == first
    assert talk.changes() == [1]


def test_a_lane_that_repeats_a_revision_does_not_undo_a_later_edit(talk: Talk) -> None:
    talk.send(talk.alice)
    event = talk.event(BACKEND, "revise_message", seq=1, text="[masked]")
    talk.bench.ask(event)
    talk.edit(talk.alice, 1, "polite")
    talk.bench.ask(event)
    assert talk.row(1).text == "polite"


@both
def test_neither_age_nor_settings_nor_blocks_nor_a_cleared_chat_protect_a_message(
    make_bench: BenchFactory, command: str, payload: dict[str, Any]
) -> None:
    talk = Talk.start(make_bench(edit_s=0, unsend_s=0))
    talk.send(talk.alice)
    talk.age(1, YEAR_S)
    block = talk.bench.event(talk.bob, "block_user", {"username": talk.alices_name})
    talk.bench.ask(block)
    talk.ask(talk.bob, "clear_chat", upTo=1)
    event = talk.event(BACKEND, command, seq=1, **payload)
    reply = talk.bench.ask(event)
    assert reply.ack(event)["message"]["text"] == payload.get("text", "")
    assert len(reply.emitted("message_changed", talk.alice)) == 1
    assert reply.emitted("message_changed", talk.bob) == []


@both
def test_what_does_not_exist_cannot_be_changed(talk: Talk, command: str, payload: dict[str, Any]) -> None:
    assert talk.refused(BACKEND, command, seq=1, **payload) is ErrorCode.MESSAGE_NOT_FOUND
    event = talk.bench.event(BACKEND, command, {"chatId": NOBODY, "seq": 1, **payload})
    assert talk.bench.ask(event).failure(event).code is ErrorCode.CHAT_NOT_FOUND


def test_a_removed_message_says_nothing_any_more(talk: Talk) -> None:
    talk.send(talk.alice)
    talk.ask(BACKEND, "remove_message", seq=1)
    assert talk.refused(BACKEND, "revise_message", seq=1, text="back") is ErrorCode.NOT_ALLOWED
    assert talk.refused(talk.alice, "edit_message", seq=1, text="back") is ErrorCode.NOT_ALLOWED


@pytest.mark.parametrize("text", ["", " ", "x" * 4_001, "\0"])
def test_a_text_that_no_user_may_send_is_refused(talk: Talk, text: str) -> None:
    talk.send(talk.alice)
    assert talk.refused(BACKEND, "revise_message", seq=1, text=text) is ErrorCode.INVALID_PAYLOAD
    assert talk.row(1).text == "hello"
