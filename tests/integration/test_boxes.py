"""Chats are muted, pinned and archived for one user alone, and all devices of the user know."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from infra.wire.errors import ErrorCode
from tests.harness.two import Person, Two
from tests.harness.worker_bench import WorkerBench

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)


def set_chat(two: Two, **changed: Any) -> Any:
    return two.do(two.alice, "set_chat", chatId=two.chat_id, **changed)


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"pinned": True}, {"pinned": True}),
        ({"archived": True}, {"box": "archived"}),
        ({"mutedUntil": TOMORROW.isoformat()}, {"mutedUntil": f"{TOMORROW:%Y-%m-%dT%H:%M:%S}.000Z"}),
    ],
)
def test_a_chat_is_different_for_one_user_alone(
    bench: WorkerBench, changed: dict[str, Any], shown: dict[str, Any]
) -> None:
    two = Two.friends(bench)
    (before,) = two.listed(two.alice)
    ack = set_chat(two, **changed)
    assert ack["chat"] == {
        "chatId": two.chat_id,
        "clearedUpTo": 0,
        "box": "inbox",
        "pinned": False,
        "mutedUntil": None,
        "blocked": False,
        **shown,
    }
    assert two.heard(two.alice, "chat_changed") == [ack["chat"]]
    assert two.heard(two.bob, "chat_changed", "user_status", "message_status") == []
    (after,) = two.listed(two.alice)
    assert after == {**before, **shown}
    joined = two.do(two.alice, "join_chat", userId=str(two.bob.id))
    assert {field: joined[field] for field in shown} == shown
    assert not set(shown) & set(two.listed(two.bob)[0])


@pytest.mark.parametrize(
    ("on", "off"),
    [
        ({"pinned": True}, {"pinned": False}),
        ({"archived": True}, {"archived": False}),
        ({"mutedUntil": TOMORROW.isoformat()}, {"mutedUntil": None}),
        ({"pinned": True}, {"archived": True, "pinned": False}),
    ],
)
def test_each_can_be_undone_and_a_retry_tells_the_devices_again(
    bench: WorkerBench, on: dict[str, Any], off: dict[str, Any]
) -> None:
    two = Two.friends(bench)
    first = set_chat(two, **on)
    assert set_chat(two, **on) == first
    assert two.heard(two.alice, "chat_changed") == [first["chat"]]
    last = set_chat(two, **off)["chat"]
    assert (last["pinned"], last["mutedUntil"]) == (False, None)
    assert last["box"] == ("archived" if off.get("archived") else "inbox")


def test_what_is_not_given_stays_as_it_is(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    set_chat(two, pinned=True, mutedUntil=TOMORROW.isoformat())
    chat = set_chat(two)["chat"]
    assert chat["pinned"]
    assert chat["mutedUntil"] is not None
    chat = set_chat(two, archived=False)["chat"]
    assert chat["pinned"]
    two.do(two.alice, "clear_chat", chatId=two.chat_id, upTo=1)
    (told,) = two.heard(two.alice, "chat_changed")
    assert told == {**chat, "clearedUpTo": 1}


def test_a_chat_is_pinned_or_archived_and_not_both(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    assert set_chat(two, pinned=True, archived=True) is ErrorCode.INVALID_PAYLOAD
    set_chat(two, pinned=True)
    assert set_chat(two, archived=True)["chat"]["pinned"] is False
    assert set_chat(two, pinned=True)["chat"]["box"] == "inbox"


def test_a_request_must_be_accepted_before_it_is_pinned_but_can_be_muted(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    two.settings(two.alice, messagesFrom="requests")
    two.send(two.bob)
    assert set_chat(two, pinned=True) is ErrorCode.NOT_ALLOWED
    assert set_chat(two, archived=True) is ErrorCode.NOT_ALLOWED
    assert set_chat(two, mutedUntil=TOMORROW.isoformat())["chat"]["box"] == "requests"


@pytest.mark.parametrize("given", ["2026-01-01", "2026-01-01T00:00:00", 5, True, "soon"])
def test_a_time_without_a_zone_is_refused(bench: WorkerBench, given: Any) -> None:
    two = Two.friends(bench)
    assert set_chat(two, mutedUntil=given) is ErrorCode.INVALID_PAYLOAD


@pytest.mark.parametrize("given", ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.000Z"])
def test_any_time_can_be_given(bench: WorkerBench, given: str) -> None:
    two = Two.friends(bench)
    assert set_chat(two, mutedUntil=given)["chat"]["mutedUntil"] == given
    assert two.listed(two.alice)[0]["mutedUntil"] == given


@pytest.mark.parametrize("given", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_beyond_all_calendars_is_refused(bench: WorkerBench, given: str) -> None:
    two = Two.friends(bench)
    assert set_chat(two, mutedUntil=given) is ErrorCode.INVALID_PAYLOAD
    assert isinstance(two.do(two.alice, "list_chats", since=given), dict)


def many(bench: WorkerBench, count: int) -> tuple[Two, list[str]]:
    """Alice with chats of one message each; return them, the newest first."""
    two = Two.strangers(bench)
    people = [Person(*person) for person in bench.people(*(f"p{number}" for number in range(count)))]
    chats = []
    for person in people:
        message = two.do(two.alice, "send_message", userId=str(person.id), text="hi")["message"]
        chats.append(message["chatId"])
    return two, chats[::-1]


def pages(two: Two, size: int, **asked: Any) -> list[str]:
    """Read a list in pages; return the ids of the chats."""
    found: list[str] = []
    cursor = None
    while True:
        page = two.do(two.alice, "list_chats", limit=size, **asked, **({"cursor": cursor} if cursor else {}))
        assert len(page["chats"]) <= size
        found += [chat["chatId"] for chat in page["chats"]]
        cursor = page["nextCursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_the_inbox_has_pinned_chats_first_and_every_chat_once(bench: WorkerBench, size: int) -> None:
    two, chats = many(bench, 8)
    for number in (2, 5, 6):
        two.do(two.alice, "set_chat", chatId=chats[number], pinned=True)
    for number in (1, 7):
        two.do(two.alice, "set_chat", chatId=chats[number], archived=True)
    assert pages(two, size, box="inbox") == [chats[number] for number in (2, 5, 6, 0, 3, 4)]
    assert pages(two, size, box="archived") == [chats[number] for number in (1, 7)]
    assert pages(two, size) == chats
    assert pages(two, size, box="requests") == pages(two, size, box="declined") == []


def test_a_new_message_leaves_an_archived_chat_where_it_is(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    set_chat(two, archived=True)
    two.send(two.bob)
    assert two.heard(two.alice, "chat_changed") == []
    assert [chat["unread"] for chat in two.listed(two.alice, "archived")] == [2]
    assert two.listed(two.alice, "inbox") == []


@pytest.mark.parametrize(
    ("change", "box"),
    [
        (lambda two: set_chat(two, pinned=True), None),
        (lambda two: set_chat(two, archived=True), "archived"),
        (lambda two: set_chat(two, mutedUntil=TOMORROW.isoformat()), None),
        (lambda two: two.block(two.alice), None),
        (lambda two: two.do(two.alice, "clear_chat", chatId=two.chat_id), None),
    ],
)
def test_a_device_that_was_away_learns_what_is_different(bench: WorkerBench, change: Any, box: Any) -> None:
    two = Two.friends(bench)
    bench.rows(
        """
        UPDATE chats
        SET activity_at = activity_at - interval '1 day', listed_at = listed_at - interval '1 day'
        """
    )
    since = {person: two.do(person, "list_chats", since=None)["since"] for person in (two.alice, two.bob)}
    assert two.listed(two.alice, since=since[two.alice]) == []
    change(two)
    assert [chat["chatId"] for chat in two.listed(two.alice, box, since=since[two.alice])] == [two.chat_id]
    assert two.listed(two.bob, since=since[two.bob]) == []


@pytest.mark.parametrize("name", ["list_chats", "list_blocked"])
@pytest.mark.parametrize("chat", ["x", "", "urn:uuid:3eddb5d1-ae1f-405e-8247-2e0d9aa9ef2f"])
def test_a_cursor_with_no_id_of_a_chat_does_not_fail_the_batch(
    bench: WorkerBench, name: str, chat: str
) -> None:
    two = Two.friends(bench)
    cursor = urlsafe_b64encode(f'[1,"{chat}"]'.encode()).decode()
    result = two.do(two.alice, name, cursor=cursor)
    assert result is ErrorCode.INVALID_PAYLOAD or result["success"]


@pytest.mark.parametrize("changed", [{"pinned": True}, {"mutedUntil": TOMORROW.isoformat()}])
def test_what_is_for_oneself_waits_for_nobody_who_holds_the_row_of_the_peer(
    bench: WorkerBench, changed: dict[str, Any]
) -> None:
    two = Two.friends(bench)
    with bench.engine.begin() as conn:
        locked = "SELECT FROM chat_members WHERE chat_id = :chat AND user_id = :bob FOR UPDATE"
        conn.execute(text(locked), {"chat": two.chat_id, "bob": two.bob.id})
        assert set_chat(two, **changed)["success"]
