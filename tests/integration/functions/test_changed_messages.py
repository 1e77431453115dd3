"""Notifications say what messages are when they are sent, and nothing of those that are gone."""

import pytest

from functions.errors import TryLater
from tests.harness.talk import Talk
from tests.integration.functions.notices import ListChannel, Notices


@pytest.fixture
def talk(notices: Notices) -> Talk:
    """Alice's chat with bob, who is offline and has a device."""
    notices.register(notices.bob)
    joined = notices.bench.event(notices.alice, "join_chat", {"username": notices.bobs_name})
    chat_id = notices.bench.ask(joined).ack(joined)["chatId"]
    people = notices.alice, notices.alices_name, notices.bob, notices.bobs_name
    return Talk(notices.bench, *people, chat_id)


def bodies(fcm: ListChannel) -> list[str]:
    return [notice.body for _, notice in fcm.notices]


def test_an_edited_message_is_shown_as_it_is_now(notices: Notices, talk: Talk, fcm: ListChannel) -> None:
    notification_id = notices.notify("befor")
    talk.edit(talk.alice, 1, "before")
    assert notices.push(fcm).deliver(notification_id) == "sent"
    assert bodies(fcm) == [f"{talk.alices_name}: before"]


def test_an_unsent_message_is_neither_counted_nor_shown(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notification_id = notices.notify("one", "two", "three", "a secret")
    talk.unsend(talk.alice, 2)
    talk.unsend(talk.alice, 4)
    assert notices.push(fcm).deliver(notification_id) == "sent"
    ((_, notice),) = fcm.notices
    assert (notice.count, notice.body) == (2, f"{talk.alices_name}: three")


def test_nothing_is_sent_of_messages_that_are_all_unsent(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notification_id = notices.notify("one", "two")
    talk.unsend(talk.alice, 1)
    talk.unsend(talk.alice, 2)
    assert notices.push(fcm).deliver(notification_id) == "obsolete"
    assert fcm.notices == []


def test_a_device_that_is_tried_again_does_not_get_what_was_unsent_meanwhile(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notification_id = notices.notify("a secret")
    fcm.failures = [TryLater("busy")]
    with pytest.raises(TryLater):
        notices.push(fcm).deliver(notification_id)
    talk.unsend(talk.alice, 1)
    notices.let_pass(3_600)
    assert notices.push(fcm).deliver(notification_id) == "obsolete"
    assert fcm.notices == []


def test_messages_that_the_recipient_has_cleared_are_not_sent(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    notification_id = notices.notify("one", "two", "three")
    talk.ask(talk.bob, "clear_chat", upTo=2)
    assert notices.push(fcm).deliver(notification_id) == "sent"
    assert [(notice.count, notice.body) for _, notice in fcm.notices] == [(1, f"{talk.alices_name}: three")]


def test_a_notification_of_a_cleared_chat_is_obsolete(notices: Notices, talk: Talk, fcm: ListChannel) -> None:
    notification_id = notices.notify("one", "two")
    talk.ask(talk.bob, "clear_chat", upTo=2)
    assert notices.push(fcm).deliver(notification_id) == "obsolete"
    assert fcm.notices == []


def test_what_the_sender_has_cleared_is_sent(notices: Notices, talk: Talk, fcm: ListChannel) -> None:
    notification_id = notices.notify("one")
    talk.ask(talk.alice, "clear_chat", upTo=1)
    assert notices.push(fcm).deliver(notification_id) == "sent"


def test_a_message_with_nothing_but_data_only_says_that_it_is_there(
    notices: Notices, talk: Talk, fcm: ListChannel
) -> None:
    talk.send(talk.alice, "", data={"picture": "secret.png"})
    notices.let_pass(61)
    notices.deliver()
    assert notices.push(fcm).deliver(notices.queue.ids[-1]) == "sent"
    assert bodies(fcm) == ["Message"]


@pytest.mark.parametrize("act", ["unsend", "clear"])
def test_nobody_is_due_a_notification_of_what_is_gone(notices: Notices, talk: Talk, act: str) -> None:
    talk.send(talk.alice)
    talk.send(talk.alice)
    if act == "clear":
        talk.ask(talk.bob, "clear_chat", upTo=2)
    else:
        talk.unsend(talk.alice, 1)
        talk.unsend(talk.alice, 2)
    notices.let_pass(61)
    assert "notified" not in notices.deliver()
    assert notices.spans() == []
    talk.send(talk.alice)
    notices.let_pass(61)
    assert notices.deliver()["notified"] == 1
    assert notices.spans() == [(talk.bob, [3], [3])]


def test_the_delay_counts_from_the_oldest_message_that_is_still_there(notices: Notices, talk: Talk) -> None:
    talk.send(talk.alice)
    notices.let_pass(50)
    talk.send(talk.alice)
    talk.unsend(talk.alice, 1)
    notices.let_pass(11)
    assert "notified" not in notices.deliver()
    notices.let_pass(50)
    assert notices.deliver()["notified"] == 1
    assert notices.spans() == [(talk.bob, [2], [2])]
