"""What a notification says."""

from uuid import UUID

import pytest

from functions.digest import OpenChat, digest


def chats(*senders: str, count: int = 1) -> list[OpenChat]:
    return [OpenChat(UUID(int=n), sender, count, f"words of {sender}") for n, sender in enumerate(senders)]


@pytest.mark.parametrize(
    ("senders", "count", "title"),
    [
        (["alice"], 1, "Message from alice"),
        (["alice"], 3, "3 messages from alice"),
        (["alice", "bob"], 1, "2 messages from alice and bob"),
        (["alice", "bob", "carol"], 1, "3 messages from alice, bob and 1 more"),
        (["alice", "bob", "carol", "dave"], 2, "8 messages from alice, bob and 2 more"),
    ],
)
def test_the_title_says_how_many_and_from_whom(senders: list[str], count: int, title: str) -> None:
    notice = digest(UUID(int=9), chats(*senders, count=count), unread=7, hide_texts=False)
    assert notice.title == title
    assert notice.senders == tuple(senders)
    assert notice.body == "alice: words of alice"


def test_a_message_that_has_no_text_says_only_that_it_is_there() -> None:
    notice = digest(UUID(int=9), [OpenChat(UUID(int=1), "alice", 1, "")], unread=7, hide_texts=False)
    assert (notice.title, notice.body) == ("Message from alice", "Message")


def test_what_the_app_says_is_not_put_into_the_mouth_of_a_user() -> None:
    said = OpenChat(UUID(int=1), "alice", 2, "Your order was shipped.", is_system=True)
    notice = digest(UUID(int=9), [said, *chats("bob")], unread=7, hide_texts=False)
    assert (notice.title, notice.body) == ("3 messages from alice and bob", "Your order was shipped.")
    assert digest(UUID(int=9), [said], unread=7, hide_texts=True).body == "2 messages"


def test_hidden_texts_are_nowhere_in_the_notice() -> None:
    notice = digest(UUID(int=9), chats("alice", "bob"), unread=7, hide_texts=True)
    assert "words" not in repr(notice)
    assert notice.body == "2 messages"
