"""A request that comes again, after later ones of its user, undoes none of them.

Redis that loses its last seconds brings batches back that were handled and answered.
"""

from typing import Any

import pytest

from infra.store.boxes import REQUEST_MESSAGES
from infra.wire.batch import Event
from tests.harness.two import Two
from tests.harness.worker_bench import WorkerBench
from workers.refusals import KEPT

LATER = "2030-01-01T00:00:00.000Z"
Payloads = tuple[str, dict[str, Any], str, dict[str, Any]]
UNDONE: dict[str, Payloads] = {
    "a block": ("unblock_user", {"userId": "bob"}, "block_user", {"userId": "bob"}),
    "the end of a block": ("block_user", {"userId": "bob"}, "unblock_user", {"userId": "bob"}),
    "a mute": ("set_chat", {"mutedUntil": None}, "set_chat", {"mutedUntil": LATER}),
    "a pin": ("set_chat", {"pinned": False}, "set_chat", {"pinned": True}),
    "the archive": ("set_chat", {"archived": False}, "set_chat", {"archived": True}),
    "a setting": (
        "update_settings",
        {"messagesFrom": "everyone"},
        "update_settings",
        {"messagesFrom": "nobody"},
    ),
    "a reaction": ("react", {"emoji": "👍", "on": False}, "react", {"emoji": "👍", "on": True}),
    "an edit": ("edit_message", {"text": "first"}, "edit_message", {"text": "second"}),
}
OF_MESSAGES = ("react", "edit_message", "unsend_message")
OF_CHATS = ("set_chat", *OF_MESSAGES)


def event(two: Two, name: str, payload: dict[str, Any]) -> Event:
    where = {"chatId": two.chat_id} if name in OF_CHATS else {}
    which = {"seq": 1} if name in OF_MESSAGES else {}
    who = {"userId": str(two.bob.id)} if "userId" in payload else {}
    return two.event(two.alice, name, **{**payload, **where, **which, **who})


def seen(two: Two) -> Any:
    """Return everything that alice sees and the requests change."""
    messages = two.do(two.alice, "get_messages", chatId=two.chat_id)["messages"]
    chats = [two.listed(two.alice, box) for box in ("inbox", "archived")]
    return chats, messages, two.do(two.alice, "get_settings")


@pytest.mark.parametrize("undone", UNDONE)
def test_a_repetition_undoes_nothing_that_came_later(bench: WorkerBench, undone: str) -> None:
    two = Two.friends(bench)
    first_name, first, later_name, later = UNDONE[undone]
    # So that the first one has something to change.
    two.ask(event(two, later_name, later))
    earlier = event(two, first_name, first)
    two.ask(earlier)
    two.ask(event(two, later_name, later))
    before = seen(two)
    (again,) = two.ask(earlier)
    assert again["success"]
    assert seen(two) == before


@pytest.mark.parametrize(
    ("name", "payload", "later"),
    [
        ("react", {"emoji": "👍", "on": True}, "unsend"),
        ("react", {"emoji": "👍", "on": True}, "block"),
        ("edit_message", {"text": "first"}, "unsend"),
        ("edit_message", {"text": "first"}, "block"),
        ("unsend_message", {}, "block"),
        ("send_message", {"userId": "bob", "text": "first"}, "block"),
        ("send_message", {"userId": "bob", "text": "first", "clientId": "1"}, "block"),
    ],
)
def test_what_was_done_is_answered_as_done_when_it_would_be_refused_by_now(
    bench: WorkerBench, name: str, payload: dict[str, Any], later: str
) -> None:
    two = Two.friends(bench)
    earlier = event(two, name, payload)
    assert two.ask(earlier)[0]["success"]
    if later == "unsend":
        assert two.do(two.alice, "unsend_message", chatId=two.chat_id, seq=1)["success"]
    else:
        assert two.block(two.bob)["success"]
    before = seen(two)
    assert two.ask(earlier)[0]["success"]
    assert seen(two) == before


def test_a_new_request_counts_however_many_came_before(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    for on in (True, False) * 15:
        assert two.block(two.alice, on=on)["blocked"] is on
    for on in (True, False) * 15:
        reaction = two.event(two.alice, "react", chatId=two.chat_id, seq=2, emoji="👍", on=on)
        assert ("reactions" in two.ask(reaction)[0]["message"]) is on


FORBIDDEN = [
    ("react", {"emoji": "👍", "on": True}),
    ("edit_message", {"text": "first"}),
    ("send_message", {"userId": "bob", "text": "first"}),
    ("send_message", {"userId": "bob", "text": "first", "clientId": "1"}),
]


@pytest.mark.parametrize(("name", "payload"), FORBIDDEN)
def test_what_a_block_has_refused_is_not_done_when_it_comes_again_after_the_block(
    bench: WorkerBench, name: str, payload: dict[str, Any]
) -> None:
    two = Two.friends(bench)
    two.block(two.bob)
    earlier = [event(two, name, payload) for _ in range(2)]
    assert two.ask(*earlier) == ["not_allowed"] * 2
    two.block(two.bob, on=False)
    before = seen(two)
    assert two.ask(*earlier) == ["not_allowed"] * 2
    assert seen(two) == before
    # Another request is allowed.
    assert two.ask(event(two, name, payload))[0]["success"]


def test_a_message_too_many_for_a_request_is_not_sent_when_it_comes_again_once_that_is_accepted(
    bench: WorkerBench,
) -> None:
    two = Two.strangers(bench)
    two.settings(two.bob, messagesFrom="requests")
    *_, fourth = events = [two.sending(two.alice, str(number)) for number in range(REQUEST_MESSAGES + 1)]
    assert two.ask(*events)[-1] == "not_allowed"
    two.do(two.bob, "accept_chat", chatId=two.chat_id)
    assert two.ask(fourth) == ["not_allowed"]
    assert two.send(two.alice, "fourth")["seq"] == REQUEST_MESSAGES + 1


def test_a_chat_remembers_the_last_requests_that_were_refused(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    two.block(two.bob)
    events = [two.sending(two.alice, str(number)) for number in range(KEPT + 10)]
    two.ask(*events[:20])
    two.ask(*events[20:])
    ((kept,),) = bench.rows("SELECT refused FROM chats WHERE id = :id", id=two.chat_id)
    assert [str(one) for one in kept] == [one.id for one in events[-KEPT:]]
