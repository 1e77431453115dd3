"""Nobody is notified of chats that they do not want to hear of."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.functions.notices import ListChannel, Notices

LATER = (datetime.now(UTC) + timedelta(hours=8)).isoformat()


def ask(notices: Notices, user: Any, name: str, **payload: Any) -> Any:
    event = notices.bench.event(user, name, payload)
    return notices.bench.ask(event).ack(event)


def mute(notices: Notices, chat_id: str) -> None:
    ask(notices, notices.bob, "set_chat", chatId=chat_id, mutedUntil=LATER)


def block(notices: Notices, chat_id: str) -> None:
    ask(notices, notices.bob, "block_user", userId=str(notices.alice))


def be_blocked(notices: Notices, chat_id: str) -> None:
    ask(notices, notices.alice, "block_user", userId=str(notices.bob))


def decline(notices: Notices, chat_id: str) -> None:
    ask(notices, notices.bob, "decline_chat", chatId=chat_id)


def unmute(notices: Notices, chat_id: str) -> None:
    ask(notices, notices.bob, "set_chat", chatId=chat_id, mutedUntil=None)


Act = Callable[[Notices, str], None]


@pytest.mark.parametrize("silence", [mute, block, be_blocked])
def test_nobody_is_notified_of_a_chat_that_is_silent(notices: Notices, silence: Act) -> None:
    notices.register(notices.bob)
    chat_id = notices.send("one")
    silence(notices, chat_id)
    notices.let_pass(61)
    assert notices.deliver() == {"obsolete": 1}
    assert notices.spans() == []


def say(notices: Notices) -> str:
    """Have the app say something in the chat of alice and bob; return the chat."""
    said = ask(notices, notices.alice, "send_system_message", userId=str(notices.bob), text="Shipped.")
    return str(said["message"]["chatId"])


@pytest.mark.parametrize("wish", ["everyone", "nobody"])
def test_what_the_app_says_is_notified_without_a_name(notices: Notices, fcm: ListChannel, wish: str) -> None:
    notices.register(notices.bob)
    ask(notices, notices.bob, "update_settings", messagesFrom=wish)
    say(notices)
    notices.let_pass(61)
    notices.deliver()
    assert notices.push(fcm).deliver(notices.queue.ids[-1]) == "sent"
    ((_, notice),) = fcm.notices
    assert (notice.body, notice.unread) == ("Shipped.", 1)


@pytest.mark.parametrize("silence", [mute, block, be_blocked])
def test_what_the_app_says_in_a_silent_chat_is_not_notified(notices: Notices, silence: Act) -> None:
    notices.register(notices.bob)
    silence(notices, say(notices))
    say(notices)
    notices.let_pass(61)
    assert notices.deliver() == {"obsolete": 1}
    assert notices.spans() == []


@pytest.mark.parametrize("silence", [mute, block, be_blocked])
def test_a_notification_that_waits_does_not_tell_of_a_chat_that_is_silent_by_then(
    notices: Notices, fcm: ListChannel, silence: Act
) -> None:
    notices.register(notices.bob)
    carol, carols_name = notices.bench.person("carol")
    notices.send("from carol", sender=carol)
    chat_id = notices.send("from alice")
    notices.let_pass(61)
    notices.deliver()
    silence(notices, chat_id)
    assert notices.push(fcm).deliver(notices.queue.ids[-1]) == "sent"
    ((_, notice),) = fcm.notices
    assert (notice.senders, notice.count, notice.body) == ((carols_name,), 1, f"{carols_name}: from carol")


def test_a_mute_ends_by_itself(notices: Notices) -> None:
    notices.register(notices.bob)
    chat_id = notices.send("one")
    ask(notices, notices.bob, "set_chat", chatId=chat_id, mutedUntil="2026-01-01T00:00:00Z")
    notices.let_pass(61)
    assert notices.deliver()["notified"] == 1


def test_who_unmutes_a_chat_is_notified_of_the_next_message(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    chat_id = notices.send("one")
    mute(notices, chat_id)
    notices.let_pass(61)
    notices.deliver()
    unmute(notices, chat_id)
    assert notices.push(fcm).deliver(notices.notify("two")) == "sent"
    assert [notice.count for _, notice in fcm.notices] == [2]


@pytest.mark.parametrize("is_declined", [False, True])
def test_nobody_is_notified_of_a_message_request(notices: Notices, is_declined: bool) -> None:
    notices.register(notices.bob)
    ask(notices, notices.bob, "update_settings", messagesFrom="requests")
    chat_id = notices.send("may I?")
    if is_declined:
        decline(notices, chat_id)
    notices.let_pass(61)
    assert notices.deliver() == {"obsolete": 1}
    ask(notices, notices.bob, "accept_chat", chatId=chat_id)
    notices.notify("thanks")
    assert notices.spans() == [(notices.bob, [1], [2])]


def test_texts_are_not_shown_to_whom_they_are_to_be_hidden_from(notices: Notices, fcm: ListChannel) -> None:
    notices.register(notices.bob)
    notification_id = notices.notify("a secret")
    ask(notices, notices.bob, "update_settings", pushTexts=False)
    assert notices.push(fcm).deliver(notification_id) == "sent"
    ((_, notice),) = fcm.notices
    assert (notice.title, notice.body) == (f"Message from {notices.alices_name}", "Message")
