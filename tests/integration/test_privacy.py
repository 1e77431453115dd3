"""Who sees whether somebody is online and what they have read; the same wherever one looks."""

from typing import Any

import pytest

from tests.harness.two import Two
from tests.harness.worker_bench import WorkerBench


def sees(two: Two) -> bool:
    """Return whether bob sees that alice is online: in the chat, in his list, and when she comes and goes."""
    peer = two.peer(two.bob)
    two.do(two.alice, "announce")
    statuses = [status["status"] for status in two.heard(two.bob, "user_status")]
    assert statuses == (["online"] if peer["online"] else [])
    assert (peer["lastSeen"] is not None) is peer["online"]
    return bool(peer["online"])


def looked_at(two: Two) -> None:
    """Bob has opened the chat; nobody has written."""
    two.do(two.bob, "join_chat", userId=str(two.alice.id))


def written_to(two: Two) -> None:
    """Only bob has written."""
    looked_at(two)
    two.send(two.bob)


def answered(two: Two) -> None:
    """Both have written."""
    written_to(two)
    two.send(two.alice)


def answering(two: Two) -> None:
    """Only alice has written."""
    looked_at(two)
    two.send(two.alice)


@pytest.mark.parametrize(
    ("wish", "so_far", "is_shown"),
    [
        ("everyone", looked_at, True),
        ("everyone", written_to, True),
        ("everyone", answered, True),
        ("chats", looked_at, False),
        ("chats", written_to, False),
        ("chats", answering, False),
        ("chats", answered, True),
        ("nobody", looked_at, False),
        ("nobody", answered, False),
        (None, looked_at, False),
        (None, written_to, False),
        (None, answered, True),
    ],
)
def test_presence_is_shown_to_whom_the_user_wants(
    bench: WorkerBench, wish: str | None, so_far: Any, is_shown: bool
) -> None:
    two = Two.strangers(bench)
    two.do(two.alice, "announce")  # she was seen before
    if wish:
        two.settings(two.alice, showPresence=wish)
    so_far(two)
    assert sees(two) is is_shown


@pytest.mark.parametrize("by", ["block", "request", "declined"])
def test_no_wish_shows_presence_to_whom_the_user_wants_no_chat_with(bench: WorkerBench, by: str) -> None:
    two = Two.strangers(bench)
    two.settings(two.alice, showPresence="everyone", messagesFrom="requests")
    two.do(two.alice, "announce")
    written_to(two)
    if by == "block":
        two.do(two.alice, "accept_chat", chatId=two.chat_id)
        assert sees(two)
        two.block(two.alice)
    elif by == "declined":
        two.do(two.alice, "decline_chat", chatId=two.chat_id)
    assert not sees(two)


def test_who_hides_goes_offline_for_those_who_saw_them(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    two.settings(two.alice, showPresence="nobody")
    (status,) = two.heard(two.bob, "user_status")
    assert (status["status"], status["lastSeen"]) == ("offline", None)
    two.settings(two.alice, showPresence="chats")
    assert [status["status"] for status in two.heard(two.bob, "user_status")] == ["online"]


def test_who_has_never_seen_the_presence_hears_nothing_of_the_settings(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    looked_at(two)
    two.settings(two.alice, showPresence="nobody")
    assert two.heard(two.bob, "user_status") == []
    two.settings(two.alice, showPresence="chats")
    assert two.heard(two.bob, "user_status") == []
    two.settings(two.alice, showPresence="everyone")
    assert [status["status"] for status in two.heard(two.bob, "user_status")] == ["online"]


@pytest.mark.parametrize("name", ["mark_as_read", "clear_chat"])
def test_who_shows_no_receipts_is_seen_to_receive_what_they_have_read(bench: WorkerBench, name: str) -> None:
    two = Two.friends(bench)
    two.settings(two.alice, readReceipts=False)
    two.send(two.bob)
    two.do(two.alice, name, chatId=two.chat_id, upTo=3)
    told = [(one["status"], one["upTo"]) for one in two.heard(two.bob, "message_status")]
    assert told == [("delivered", 3)]


def test_a_blocked_peer_hears_nothing_of_the_settings(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    two.block(two.bob)
    for wish in ("nobody", "everyone"):
        two.settings(two.alice, showPresence=wish)
        assert two.heard(two.bob, "user_status") == []


def test_who_shows_no_receipts_is_seen_to_receive_but_not_to_read(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    two.settings(two.alice, readReceipts=False)
    two.send(two.bob)
    two.confirm(two.alice, 3)
    assert [one["status"] for one in two.heard(two.bob, "message_status")] == ["delivered"]
    two.do(two.alice, "mark_as_read", chatId=two.chat_id, upTo=3)
    assert two.heard(two.bob, "message_status") == []
    assert [one["upTo"] for one in two.heard(two.alice, "message_status")] == [3]
    peer = two.peer(two.bob)
    assert (peer["deliveredUpTo"], peer["readUpTo"]) == (3, 0)
    assert two.statuses(two.bob)[-1] == "delivered"
    assert two.listed(two.alice)[0]["unread"] == 0
    assert two.listed(two.alice)[0]["readUpTo"] == 3


def test_clearing_a_chat_tells_nobody_who_is_to_see_no_receipts(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    two.settings(two.bob, readReceipts=False)
    two.do(two.bob, "clear_chat", chatId=two.chat_id, upTo=2)
    assert "read" not in [one["status"] for one in two.heard(two.alice, "message_status")]
    assert two.peer(two.alice)["readUpTo"] == 0


def test_receipts_behind_a_hole_are_hidden_as_well(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    two.settings(two.alice, messagesFrom="requests")
    for _ in range(3):
        two.send(two.bob)
    two.do(two.alice, "confirm_delivery", chatId=two.chat_id, spans=[[2, 3]])
    two.do(two.alice, "confirm_delivery", chatId=two.chat_id, spans=[[1, 1], [3, 3]])
    assert two.heard(two.bob, "message_status") == []
    two.do(two.alice, "confirm_delivery", chatId=two.chat_id, spans=[[1, 3]])
    assert two.heard(two.bob, "message_status") == []
    two.do(two.alice, "accept_chat", chatId=two.chat_id)
    assert [one["upTo"] for one in two.heard(two.bob, "message_status")] == [3]


def test_who_is_deleted_is_shown_to_nobody_while_their_socket_lives_on(bench: WorkerBench) -> None:
    two = Two.friends(bench)
    assert two.peer(two.bob)["online"]
    bench.rows("DELETE FROM profiles WHERE id = :alice", alice=two.alice.id)
    (chat,) = two.listed(two.bob)
    assert (chat["peer"]["online"], chat["peer"]["lastSeen"]) == (False, None)
