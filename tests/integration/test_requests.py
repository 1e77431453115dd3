"""Strangers' messages: they pass, wait to be accepted, or are refused, as their recipient wants it."""

import threading
from typing import Any

import pytest

from infra.store.boxes import REQUEST_MESSAGES
from infra.wire.errors import ErrorCode
from tests.harness.two import Two
from tests.harness.worker_bench import WorkerBench
from tests.integration.conftest import BenchFactory


@pytest.fixture
def two(bench: WorkerBench) -> Two:
    """Alice wants to be asked; bob is a stranger."""
    strangers = Two.strangers(bench)
    strangers.settings(strangers.alice, messagesFrom="requests")
    return strangers


def test_a_stranger_passes_unless_the_recipient_wants_otherwise(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    assert two.send(two.bob)["seq"] == 1
    assert two.heard(two.alice, "chat_changed") == []
    assert "box" not in two.listed(two.alice, "inbox")[0]


def test_a_stranger_is_refused_where_nobody_may_begin(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    two.settings(two.alice, messagesFrom="nobody")
    assert two.send(two.bob) is ErrorCode.NOT_ALLOWED
    assert two.heard(two.alice, "new_message", "chat_changed") == []
    assert two.bench.seqs(two.chat_id) == []


@pytest.mark.parametrize("wish", ["everyone", "requests", "nobody"])
def test_a_refusal_does_not_tell_a_block_from_a_wish(bench: WorkerBench, wish: str) -> None:
    """Whoever is refused gets the same words, whatever the reason is."""
    failures = set()
    for is_blocked in (False, True):
        two = Two.strangers(bench)
        two.settings(two.alice, messagesFrom=wish)
        if is_blocked:
            two.block(two.alice)
        for _ in range(REQUEST_MESSAGES):
            two.send(two.bob)
        event = two.sending(two.bob)
        two.ask(event)
        failures.add(two.reply.answers[event.id].failure)
    failures.discard(None)
    (failure,) = failures
    assert failure is not None
    assert (failure.code, failure.message) == (ErrorCode.NOT_ALLOWED, "You are not allowed to do this.")


@pytest.mark.parametrize("own_wish", ["everyone", "requests", "nobody"])
def test_the_list_of_who_is_refused_does_not_tell_a_block_from_a_wish(
    bench: WorkerBench, own_wish: str
) -> None:
    seen = []
    for is_blocked in (False, True):
        two = Two.strangers(bench)
        two.settings(two.bob, messagesFrom=own_wish)
        two.settings(two.alice, messagesFrom="nobody")
        if is_blocked:
            two.block(two.alice)
        assert two.send(two.bob) is ErrorCode.NOT_ALLOWED
        (chat,) = two.listed(two.bob)
        seen.append({name: chat[name] for name in chat.keys() - {"chatId", "peer"}})
        assert two.listed(two.alice) == []
    assert seen[0] == seen[1]


def test_who_writes_to_somebody_may_be_answered(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    two.settings(two.alice, messagesFrom="nobody")
    assert two.send(two.alice)["seq"] == 1
    assert two.send(two.bob)["seq"] == 2


def test_a_chat_that_exists_stays_open(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    two.send(two.bob)
    two.settings(two.alice, messagesFrom="nobody")
    assert two.send(two.bob)["seq"] == 2


def test_a_request_waits_in_a_box_of_its_own(two: Two) -> None:
    message = two.send(two.bob, "may I?")
    (told,) = two.heard(two.alice, "chat_changed")
    assert (told["chatId"], told["box"]) == (two.chat_id, "requests")
    assert [one["text"] for one in two.heard(two.alice, "new_message")] == ["may I?"]
    assert two.listed(two.alice) == two.listed(two.alice, "inbox") == []
    (request,) = two.listed(two.alice, "requests")
    assert (request["box"], request["unread"], request["lastMessage"]) == ("requests", 1, message)
    assert "box" not in two.listed(two.bob)[0]


def test_a_stranger_may_send_three_messages(two: Two) -> None:
    results = [two.send(two.bob) for _ in range(REQUEST_MESSAGES + 1)]
    assert [one["seq"] for one in results[:-1]] == [1, 2, 3]
    assert results[-1] is ErrorCode.NOT_ALLOWED
    assert two.heard(two.alice, "new_message") == []


@pytest.mark.parametrize("sizes", [(5,), (1, 4), (2, 2, 1), (3, 1)])
def test_the_limit_holds_however_the_messages_are_batched(two: Two, sizes: tuple[int, ...]) -> None:
    results = [one for size in sizes for one in two.ask(*(two.sending(two.bob, f"{n}") for n in range(size)))]
    stored = [one["message"]["seq"] for one in results if isinstance(one, dict)]
    assert stored == [1, 2, 3]
    assert two.bench.seqs(two.chat_id) == [1, 2, 3]


def test_the_limit_holds_when_many_workers_store_at_once(make_bench: BenchFactory) -> None:
    benches = [make_bench() for _ in range(3)]
    for _ in range(8):
        two = Two.strangers(benches[0])
        two.settings(two.alice, messagesFrom="requests")
        together = threading.Barrier(len(benches))

        def write(bench: WorkerBench, two: Two = two, together: threading.Barrier = together) -> None:
            own = Two(bench, two.alice, two.bob)
            together.wait()
            for _ in range(2):
                own.ask(own.sending(own.bob), own.sending(own.bob))

        threads = [threading.Thread(target=write, args=(bench,)) for bench in benches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert two.bench.seqs(two.chat_id) == [1, 2, 3]


def test_a_retry_of_a_request_delivers_nothing_that_was_delivered(two: Two) -> None:
    two.send(two.bob, clientId="one")
    two.confirm(two.alice, 1)
    for turn in ("waiting", "declined"):
        two.send(two.bob, clientId="one")
        assert two.heard(two.alice, "new_message") == [], turn
        two.do(two.alice, "decline_chat", chatId=two.chat_id)


@pytest.mark.parametrize("state", ["waiting", "declined"])
def test_who_was_not_accepted_can_take_a_message_back_and_change_none(two: Two, state: str) -> None:
    two.send(two.bob)
    own = {"chatId": two.chat_id, "seq": 1}
    if state == "declined":
        two.do(two.alice, "decline_chat", chatId=two.chat_id)
    for name, more in (("edit_message", {"text": "again"}), ("react", {"emoji": "👍", "on": True})):
        assert two.do(two.bob, name, **own, **more) is ErrorCode.NOT_ALLOWED
        assert two.heard(two.alice, "message_changed") == []
    assert two.do(two.bob, "unsend_message", **own)["success"]


def test_a_retry_of_a_request_counts_once(two: Two) -> None:
    first = two.send(two.bob, clientId="one")
    for _ in range(REQUEST_MESSAGES):
        assert two.send(two.bob, clientId="one") == first
    assert two.send(two.bob, clientId="two")["seq"] == 2


def answer(two: Two) -> None:
    two.send(two.alice, "of course")


def accept(two: Two) -> None:
    assert two.do(two.alice, "accept_chat", chatId=two.chat_id)["chat"]["box"] == "inbox"


@pytest.mark.parametrize("let_in", [answer, accept])
def test_who_is_let_in_may_write_and_sees_receipts(two: Two, let_in: Any) -> None:
    two.send(two.bob)
    two.confirm(two.alice, 1)
    two.do(two.alice, "mark_as_read", chatId=two.chat_id, upTo=1)
    let_in(two)
    told = [(one["status"], one["upTo"]) for one in two.heard(two.bob, "message_status")]
    assert told == [("delivered", 1), ("read", 1)]
    assert [one["box"] for one in two.heard(two.alice, "chat_changed")] == ["inbox"]
    for _ in range(REQUEST_MESSAGES + 1):
        assert isinstance(two.send(two.bob), dict)
    assert two.listed(two.alice, "requests") == []
    assert len(two.listed(two.alice, "inbox")) == 1
    two.confirm(two.alice, 4)
    assert len(two.heard(two.bob, "message_status")) == 1


@pytest.mark.parametrize("state", ["waiting", "declined"])
def test_who_is_not_let_in_notices_nothing(two: Two, state: str) -> None:
    two.send(two.bob)
    two.settings(two.alice, showPresence="everyone")
    if state == "declined":
        two.do(two.alice, "decline_chat", chatId=two.chat_id)
        assert two.heard(two.bob, "message_status", "user_status", "chat_changed") == []
    peer = two.peer(two.bob)
    assert (peer["online"], peer["lastSeen"]) == (False, None)
    assert (peer["deliveredUpTo"], peer["readUpTo"]) == (0, 0)
    two.confirm(two.alice, 1)
    assert two.heard(two.bob, "message_status") == []
    two.do(two.alice, "mark_as_read", chatId=two.chat_id)
    assert two.heard(two.bob, "message_status") == []
    assert two.listed(two.alice, "requests" if state == "waiting" else "declined")[0]["unread"] == 0
    two.do(two.alice, "typing", chatId=two.chat_id, isTyping=True)
    assert two.heard(two.bob, "typing") == []
    two.do(two.alice, "announce")
    assert two.heard(two.bob, "user_status") == []
    assert two.statuses(two.bob) == ["sent"]
    peer = two.peer(two.bob)
    assert (peer["deliveredUpTo"], peer["readUpTo"]) == (0, 0)
    two.do(two.bob, "typing", chatId=two.chat_id, isTyping=True)
    assert two.heard(two.alice, "typing") == []


def test_a_declined_request_is_in_its_own_list_and_its_sender_is_refused(two: Two) -> None:
    two.send(two.bob)
    assert two.do(two.alice, "decline_chat", chatId=two.chat_id)["chat"]["box"] == "declined"
    assert two.send(two.bob) is ErrorCode.NOT_ALLOWED
    assert two.heard(two.alice, "new_message", "chat_changed") == []
    assert two.listed(two.alice) == two.listed(two.alice, "requests") == []
    assert len(two.listed(two.alice, "declined")) == 1
    assert len(two.listed(two.bob)) == 1


@pytest.mark.parametrize("let_in", [answer, accept])
def test_a_declined_request_can_be_let_in_later(two: Two, let_in: Any) -> None:
    two.send(two.bob)
    two.do(two.alice, "decline_chat", chatId=two.chat_id)
    let_in(two)
    assert isinstance(two.send(two.bob), dict)
    assert len(two.listed(two.alice, "inbox")) == 1


@pytest.mark.parametrize(
    ("names", "box"),
    [
        (("decline_chat", "accept_chat"), "inbox"),
        (("decline_chat", "accept_chat", "set_chat"), "archived"),
        (("set_chat", "accept_chat"), "inbox"),
    ],
)
def test_requests_about_a_chat_are_handled_in_their_order(two: Two, names: tuple[str, ...], box: str) -> None:
    two.send(two.bob)
    of_chat = {"chatId": two.chat_id}
    more = {"set_chat": {"archived": True}}
    two.ask(*(two.event(two.alice, name, **of_chat, **more.get(name, {})) for name in names))
    assert two.heard(two.alice, "chat_changed")[-1]["box"] == box


@pytest.mark.parametrize("who", ["requests", "nobody"])
def test_a_stranger_whose_chat_is_joined_is_not_seen_typing(bench: WorkerBench, who: str) -> None:
    two = Two.strangers(bench)
    two.do(two.bob, "join_chat", userId=str(two.alice.id))
    two.do(two.bob, "typing", userId=str(two.alice.id), isTyping=True)
    assert len(two.heard(two.alice, "typing")) == 1
    two.settings(two.alice, messagesFrom=who)
    two.do(two.alice, "join_chat", userId=str(two.bob.id))
    assert two.do(two.bob, "typing", userId=str(two.alice.id), isTyping=True)["success"]
    assert two.heard(two.alice, "typing") == []


def test_a_chat_that_was_accepted_cannot_be_declined(two: Two) -> None:
    two.send(two.bob)
    accept(two)
    assert two.do(two.alice, "decline_chat", chatId=two.chat_id) is ErrorCode.NOT_ALLOWED
    assert len(two.listed(two.alice, "inbox")) == 1


def test_accepting_and_declining_twice_tells_the_devices_again_and_changes_nothing(two: Two) -> None:
    two.send(two.bob)
    for name, box in (("decline_chat", "declined"), ("accept_chat", "inbox")):
        first = two.do(two.alice, name, chatId=two.chat_id)
        assert two.do(two.alice, name, chatId=two.chat_id) == first
        assert [one["box"] for one in two.heard(two.alice, "chat_changed")] == [box]
        assert two.heard(two.bob, "chat_changed", "message_status", "user_status") == []


def test_somebody_can_be_let_in_before_they_write(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    two.settings(two.alice, messagesFrom="nobody")
    two.do(two.alice, "join_chat", userId=str(two.bob.id))
    assert two.send(two.bob) is ErrorCode.NOT_ALLOWED
    accept(two)
    assert two.send(two.bob)["seq"] == 1


def test_a_request_and_the_answer_to_it_in_one_batch(two: Two) -> None:
    results = two.ask(
        *(two.sending(two.bob, f"{n}") for n in range(2)),
        two.sending(two.alice, "answer"),
        two.sending(two.bob, "thanks"),
    )
    assert sorted(one["message"]["seq"] for one in results) == [1, 2, 3, 4]
    assert two.bench.seqs(two.chat_id) == [1, 2, 3, 4]
    assert len(two.listed(two.alice, "inbox")) == 1
    two.confirm(two.alice, 4)
    assert len(two.heard(two.bob, "message_status")) == 1


def test_a_stranger_whom_nobody_wants_any_more_does_not_get_to_the_limit(two: Two) -> None:
    two.send(two.bob)
    two.settings(two.alice, messagesFrom="nobody")
    assert two.send(two.bob) is ErrorCode.NOT_ALLOWED
    two.settings(two.alice, messagesFrom="everyone")
    assert two.send(two.bob)["seq"] == 2


def test_notes_to_self_are_always_possible(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    for wish in ("nobody", "requests"):
        two.settings(two.alice, messagesFrom=wish)
        (result,) = two.ask(two.event(two.alice, "send_message", userId=str(two.alice.id), text="mine"))
        assert result["message"]["text"] == "mine"
        (chat,) = two.listed(two.alice, "inbox")
        assert "box" not in chat


def test_only_a_member_can_accept_decline_or_set_a_chat(two: Two, bench: WorkerBench) -> None:
    two.send(two.bob)
    mallory, _ = bench.person("mallory")
    for name in ("accept_chat", "decline_chat", "set_chat"):
        event = bench.event(mallory, name, {"chatId": two.chat_id})
        assert bench.ask(event).failure(event).code is ErrorCode.NOT_A_MEMBER
        event = bench.event(mallory, name, {"chatId": str(mallory)})
        assert bench.ask(event).failure(event).code is ErrorCode.CHAT_NOT_FOUND
    assert len(two.listed(two.alice, "requests")) == 1


@pytest.mark.parametrize("wish", ["everyone", "requests", "nobody"])
def test_who_wants_to_be_asked_is_shown_no_chat_that_a_stranger_only_opens(
    bench: WorkerBench, wish: str
) -> None:
    two = Two.strangers(bench)
    two.settings(two.alice, messagesFrom=wish)
    two.do(two.bob, "join_chat", userId=str(two.alice.id))
    assert len(two.listed(two.bob)) == 1
    assert len(two.listed(two.alice)) == (wish == "everyone")
    two.do(two.bob, "typing", chatId=two.chat_id, isTyping=True)
    assert len(two.heard(two.alice, "typing")) == (wish == "everyone")
    bench.rows(
        "UPDATE chats SET activity_at = now() - interval '1 day', listed_at = now() - interval '1 day'"
    )
    since = two.do(two.alice, "list_chats", since=None)["since"]
    two.do(two.alice, "join_chat", userId=str(two.bob.id))
    assert len(two.listed(two.alice)) == 1
    assert len(two.listed(two.alice, since=since)) == (wish != "everyone")


def test_two_who_both_want_to_be_asked_may_open_their_chat_at_once(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    for person in (two.alice, two.bob):
        two.settings(person, messagesFrom="nobody")
    two.ask(*(two.event(one, "join_chat", userId=str(two.other(one).id)) for one in (two.alice, two.bob)))
    assert len(two.listed(two.alice)) == len(two.listed(two.bob)) == 1
