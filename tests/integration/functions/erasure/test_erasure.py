"""Erasing a user leaves nothing that they wrote or set, and nothing less of what is their peers'."""

import itertools
import json
import uuid
from typing import Any

import pytest

from functions.erasure import outbox, record, reports, rows, streams
from functions.erasure.chats import ChatErasure
from functions.errors import ArchiveError, ErasureRefused
from functions.pacer import Pacer
from infra.settings.base import SettingsError
from infra.store.erasures import Mode
from infra.store.profiles import DELETED_USERNAME
from infra.wire import names
from infra.wire.errors import ErrorCode
from tests.harness.two import Two
from tests.integration.functions.conftest import Eraser
from tests.integration.functions.letters import leave_letters_of_the_backend

SECRET = "meet me at the old mill"
MORE = "and bring the map"
LETTER = (
    "INSERT INTO dead_letters (id, event, user_id, payload, error)"
    " VALUES (gen_random_uuid(), 'send_message', :user, :payload, 'boom')"
)


def everything(two: Two) -> str:
    """Return all rows of all tables, and all values in Redis, as one text."""
    found = [
        row.all
        for (table,) in two.bench.rows(
            "SELECT relname FROM pg_class WHERE relnamespace = 'bbgram'::regnamespace AND relkind = 'r'"
        )
        for row in two.bench.rows(f'SELECT t::text AS all FROM "{table}" t')
    ]
    for key in two.bench.redis.keys("*"):
        found.append(repr((key, two.bench.redis.dump(key), two.bench.redis.type(key))))
        if two.bench.redis.type(key) == b"stream":
            found.append(repr(two.bench.redis.xrange(key)))
    return "\n".join(found)


def page(two: Two) -> list[Any]:
    """Return the chat as bob sees it."""
    messages: list[Any] = two.do(two.bob, "get_messages", chatId=two.chat_id)["messages"]
    return messages


def live(two: Two) -> None:
    """Leave traces of alice everywhere."""

    def do(*asked: Any, **payload: Any) -> None:
        assert isinstance(result := two.do(*asked, **payload), dict), result

    two.send(two.alice, SECRET, clientId="alices-own-id", data={"place": SECRET})
    two.send(two.bob, "I will")
    seq = two.send(two.bob, "what else?", replyTo=3)["seq"]
    do(two.alice, "react", chatId=two.chat_id, seq=seq, emoji="👍", on=True)
    do(two.bob, "react", chatId=two.chat_id, seq=seq, emoji="🎉", on=True)
    two.send(two.alice, MORE)
    do(two.alice, "send_message", userId=str(two.alice.id), text=f"myself: {SECRET}")
    do(two.alice, "register_device", channel="webhook", address="https://example.com/alices-hook")
    do(two.bob, "report", chatId=two.chat_id, seq=3, reason="spam", note="bobs note")
    do(two.alice, "report", chatId=two.chat_id, seq=4, reason="rude", note=f"alices note: {SECRET}")
    two.settings(two.alice, pushTexts=False, readReceipts=False, messagesFrom="nobody")
    two.bench.rows(LETTER, user=two.alice.id, payload=f'{{"text": "{SECRET}"}}')
    two.bench.rows(
        "INSERT INTO notifications (id, user_id, chat_ids, first_seqs, last_seqs)"
        " VALUES (gen_random_uuid(), :user, '{}', '{}', '{}')",
        user=two.alice.id,
    )


def test_nothing_of_what_they_wrote_or_set_is_left(two: Two, eraser: Eraser) -> None:
    live(two)
    assert SECRET in everything(two)
    manifest = eraser(two.alice.id)
    assert manifest.complete
    left = everything(two)
    for trace in (SECRET, MORE, two.alice.name, "alices-own-id", "alices-hook", "alices note"):
        assert trace not in left
    for kept in ("I will", "what else?", "bobs note", two.bob.name):
        assert kept in left
    assert manifest.counts["postgres"] == {
        "messages": 3,
        "reactions": 1,
        "notes": 1,
        "devices": 1,
        "notifications": 1,
        "dead_letters": 1,
        "reports": 2,
        "profiles": 1,
    }


@pytest.mark.parametrize("mode", Mode)
def test_dead_letters_of_the_backend_about_the_user_are_gone(two: Two, eraser: Eraser, mode: Mode) -> None:
    own, others = leave_letters_of_the_backend(two)
    manifest = eraser(two.alice.id, mode)
    left = {row.payload for row in two.bench.rows("SELECT payload FROM dead_letters")}
    assert left == others
    assert manifest.counts["postgres"]["dead_letters"] == len(own)


def test_tombstones_keep_the_chat_of_the_peer_whole(two: Two, eraser: Eraser) -> None:
    live(two)
    eraser(two.alice.id)
    messages = page(two)
    assert [message["seq"] for message in messages] == [1, 2, 3, 4, 5, 6]
    own = [message for message in messages if message["senderId"] == str(two.alice.id)]
    assert [message["seq"] for message in own] == [1, 3, 6]
    for message in own:
        assert (message["text"], message["senderUsername"]) == ("", DELETED_USERNAME)
        assert message["deletedAt"]
        assert "data" not in message
    assert [message["text"] for message in messages if message not in own] == ["ho", "I will", "what else?"]
    assert messages[4]["replyTo"]["text"] == ""
    assert messages[4]["reactions"] == [{"emoji": "🎉", "userIds": [str(two.bob.id)]}]


def test_connected_peers_hear_of_each_change(two: Two, eraser: Eraser) -> None:
    live(two)
    two.bench.read()
    eraser(two.alice.id, unread_s=600.0, settle_s=-600.0)
    heard = two.bench.read().emitted("message_changed", two.bob.id)
    assert [message["seq"] for message in heard] == [1, 3, 5, 6]
    assert [message["change"] for message in heard] == sorted(message["change"] for message in heard)
    assert not two.bench.rows("SELECT FROM messages WHERE change IS NULL AND sender_id = :a", a=two.alice.id)


def test_peers_who_were_away_find_the_tombstones_when_they_sync(two: Two, eraser: Eraser) -> None:
    live(two)
    chat = two.listed(two.bob)[0]
    cursor = {"seq": 6, "change": chat["change"]}
    eraser(two.alice.id)
    (gap,) = two.do(two.bob, "sync", cursors={two.chat_id: cursor})["chats"]
    assert sorted(message["seq"] for message in gap["changes"]) == [1, 3, 5, 6]
    assert {message["text"] for message in gap["changes"] if message["senderId"] == str(two.alice.id)} == {""}


def test_what_the_peer_has_cleared_is_not_told_to_them(two: Two, eraser: Eraser) -> None:
    live(two)
    two.do(two.bob, "clear_chat", chatId=two.chat_id, upTo=5)
    two.bench.read()
    eraser(two.alice.id, unread_s=600.0, settle_s=-600.0)
    assert [m["seq"] for m in two.bench.read().emitted("message_changed", two.bob.id)] == [6]


def test_the_user_is_shown_as_deleted_and_may_do_nothing(two: Two, eraser: Eraser) -> None:
    eraser(two.alice.id)
    assert two.listed(two.bob)[0]["peer"]["username"] == DELETED_USERNAME
    two.bench.processor._deleted_users._read_at = float("-inf")
    assert two.send(two.alice, "still here?") == ErrorCode.PROFILE_MISSING


def test_anonymised_messages_stay_and_the_person_is_nobody(two: Two, eraser: Eraser) -> None:
    live(two)
    before = page(two)
    manifest = eraser(two.alice.id, Mode.ANONYMISE)
    after = page(two)
    assert [message["text"] for message in after] == [message["text"] for message in before]
    assert [m.get("reactions") for m in after] == [m.get("reactions") for m in before]
    left = everything(two)
    for trace in (two.alice.name, "alices-hook", "myself"):
        assert trace not in left
    assert SECRET in left
    assert manifest.counts["postgres"] == {
        "notes": 1,
        "devices": 1,
        "notifications": 1,
        "dead_letters": 1,
        "reports": 2,
        "profiles": 1,
    }


@pytest.mark.parametrize("mode", Mode)
def test_what_they_have_set_is_gone(two: Two, eraser: Eraser, mode: Mode) -> None:
    live(two)
    two.do(two.alice, "set_chat", chatId=two.chat_id, pinned=True, mutedUntil="2099-01-01T00:00:00Z")
    two.block(two.alice)
    two.bench.rows(
        "UPDATE profiles SET display_name = 'Alice', avatar_url = 'https://a', data = '{}', refused = handled"
        " WHERE id = :a",
        a=two.alice.id,
    )
    manifest = eraser(two.alice.id, mode)
    (profile,) = two.bench.rows("SELECT * FROM profiles WHERE id = :a", a=two.alice.id)
    settings = (profile.messages_from, profile.read_receipts, profile.show_presence, profile.push_texts)
    assert settings == ("everyone", True, "chats", True)
    assert (profile.last_seen_at, profile.handled, profile.created_at) == (None, None, profile.deleted_at)
    assert (profile.display_name, profile.avatar_url, profile.data, profile.refused) == (
        None,
        None,
        None,
        None,
    )
    (chat,) = two.bench.rows("SELECT * FROM chats")
    assert (chat.lo_blocked_at, chat.hi_blocked_at) == (None, None)
    assert {chat.lo_box, chat.hi_box} == {1}
    (member,) = two.bench.rows("SELECT * FROM chat_members WHERE user_id = :a", a=two.alice.id)
    assert (member.muted_until, member.joined_at) == (None, None)
    assert manifest.counts["postgres"]["blocks"] == 1


def test_the_peer_does_not_learn_what_they_had_read_in_silence(two: Two, eraser: Eraser) -> None:
    two.settings(two.alice, readReceipts=False)
    two.send(two.bob, "have you seen this?")
    two.do(two.alice, "mark_as_read", chatId=two.chat_id, upTo=3)
    before = two.statuses(two.bob)
    assert "read" not in before
    eraser(two.alice.id)
    assert two.statuses(two.bob) == before


def test_the_block_of_the_peer_stays(two: Two, eraser: Eraser) -> None:
    two.block(two.bob)
    eraser(two.alice.id)
    (chat,) = two.bench.rows("SELECT lo_blocked_at, hi_blocked_at FROM chats")
    assert [at for at in chat if at] != []


def test_notifications_that_tell_of_the_messages_are_replaced(two: Two, eraser: Eraser) -> None:
    two.bench.rows(
        "INSERT INTO notifications"
        " (id, user_id, chat_ids, first_seqs, last_seqs, sent_to, finished_at, outcome)"
        " VALUES (gen_random_uuid(), :bob, ARRAY[CAST(:chat AS uuid)], '{1}', '{1}',"
        " ARRAY[gen_random_uuid()], now(), 'sent')",
        bob=two.bob.id,
        chat=two.chat_id,
    )
    eraser(two.alice.id)
    (notification,) = two.bench.rows("SELECT * FROM notifications")
    assert notification.unsent_at is not None
    assert notification.to_replace == notification.sent_to


def test_a_client_id_that_is_the_id_of_another_message_is_no_obstacle(two: Two, eraser: Eraser) -> None:
    first = two.send(two.alice, "one", clientId="first")
    two.send(two.alice, "two", clientId=first["id"])
    assert eraser(two.alice.id).complete
    assert {message["text"] for message in page(two)} == {"", "ho"}


def test_long_chats_are_erased_in_portions(two: Two, eraser: Eraser, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(6):
        two.ask(*(two.sending(person, SECRET) for person in (two.alice, two.bob) * 50))
    manifest = eraser(two.alice.id)
    assert manifest.counts["postgres"]["messages"] == 301
    texts = two.bench.rows("SELECT sender_id, text, count(*) FROM messages GROUP BY 1, 2 ORDER BY 3")
    assert [(row.text, row.count) for row in texts] == [("ho", 1), (SECRET, 300), ("", 301)]


def test_peers_write_between_two_portions(two: Two, eraser: Eraser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.erasure.chats.SLICE", 20)
    two.ask(*(two.sending(two.alice, SECRET) for _ in range(60)))
    answers: list[Any] = []

    class Between:
        def changed(self, chat_id: uuid.UUID, seqs: Any) -> None:
            bob = two.event(two.bob, "edit_message", chatId=two.chat_id, seq=2, text=f"ho {len(answers)}")
            answers.extend(two.ask(bob))

    assert eraser(two.alice.id, announcer=Between()).complete
    assert len(answers) == 4
    assert all(isinstance(answer, dict) for answer in answers)
    assert two.bench.rows("SELECT text FROM messages WHERE seq = 2") == [("ho 3",)]


class Death(BaseException):
    """Stands for the death of the process."""


def test_however_often_it_dies_it_is_complete_in_the_end(
    two: Two, eraser: Eraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies wherever it notes what it has done, each time a little later."""
    live(two)
    for _ in range(3):
        two.ask(*(two.sending(person, SECRET) for person in (two.alice, two.bob) * 50))
    two.bench.read()
    monkeypatch.setattr("functions.erasure.chats.SLICE", 20)
    deaths = 0
    for life in itertools.count(1):
        steps = itertools.count(1)

        def live_on(limit: int = life, steps: Any = steps) -> None:
            if next(steps) > limit:
                raise Death

        with monkeypatch.context() as patch:
            for place, name in ((record, "count"), (record, "move"), (record, "finish")):
                original = getattr(place, name)

                def act(*arguments: Any, original: Any = original) -> Any:
                    live_on()
                    return original(*arguments)

                patch.setattr(place, name, act)
            patch.setattr(Pacer, "pause", lambda _: live_on())
            try:
                manifest = eraser(two.alice.id, unread_s=600.0, settle_s=-600.0)
                break
            except Death:
                deaths += 1
    assert deaths > 8
    assert manifest.complete
    postgres = manifest.counts["postgres"]
    assert {**postgres, "messages": 153, "reactions": 1, "notes": 1, "profiles": 1, "reports": 2} == postgres
    heard = {message["seq"] for message in two.bench.read().emitted("message_changed", two.bob.id)}
    own = {row.seq for row in two.bench.rows("SELECT seq FROM messages WHERE sender_id = :a", a=two.alice.id)}
    assert heard == own | {5}


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (rows, "take_name"),
        (ChatErasure, "run"),
        (ChatErasure, "_portion"),
        (ChatErasure, "_note"),
        (ChatErasure, "_forget_side"),
        (rows, "delete_rows"),
        (reports, "erase_copies"),
        (outbox, "erase_facts"),
        (rows, "delete_profile"),
        (streams, "trim_streams"),
        (streams, "forget_user"),
        (record, "finish"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_dies_at_a_step_is_completed_by_the_next(
    two: Two, eraser: Eraser, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, when: str
) -> None:
    live(two)
    two.bench.redis.delete(names.user_edges_key(str(two.alice.id)))
    original = getattr(place, name)

    def die(*arguments: Any) -> None:
        if when == "after":
            original(*arguments)
        raise Death

    with monkeypatch.context() as patch:
        patch.setattr(place, name, die)
        with pytest.raises(Death):
            eraser(two.alice.id)
    manifest = eraser(two.alice.id)
    assert manifest.complete
    assert manifest.counts["postgres"]["messages"] == 3
    assert manifest.counts["postgres"]["profiles"] == 1
    assert SECRET not in everything(two)


def test_what_was_erased_but_perhaps_not_told_is_told_by_the_next_run(two: Two, eraser: Eraser) -> None:
    class Mute:
        def changed(self, chat_id: uuid.UUID, seqs: Any) -> None:
            raise Death

    live(two)
    two.bench.read()
    with pytest.raises(Death):
        eraser(two.alice.id, announcer=Mute())
    eraser(two.alice.id, unread_s=600.0, settle_s=-600.0)
    heard = two.bench.read().emitted("message_changed", two.bob.id)
    assert [message["seq"] for message in heard] == [1, 3, 5, 6]


def test_a_run_out_of_time_says_so_and_the_next_goes_on(two: Two, eraser: Eraser) -> None:
    live(two)
    manifest = eraser(two.alice.id, pacer=Pacer(0))
    assert not manifest.complete
    assert eraser(two.alice.id).complete


def test_repeating_it_erases_nothing_twice(two: Two, eraser: Eraser) -> None:
    live(two)
    first = eraser(two.alice.id)
    changes = two.bench.rows("SELECT change FROM chats")
    again = eraser(two.alice.id)
    assert again.counts["postgres"] == first.counts["postgres"]
    assert two.bench.rows("SELECT change FROM chats") == changes


def test_messages_can_be_erased_after_they_were_anonymised_but_not_the_other_way(
    two: Two, eraser: Eraser
) -> None:
    live(two)
    eraser(two.alice.id, Mode.ANONYMISE)
    assert eraser(two.alice.id).complete
    assert SECRET not in everything(two)
    with pytest.raises(ErasureRefused):
        eraser(two.alice.id, Mode.ANONYMISE)


def test_a_user_who_is_still_connected_is_left_in_the_registry_and_named(two: Two, eraser: Eraser) -> None:
    manifest = eraser(two.alice.id)
    (why,) = [left.why for left in manifest.left if left.what == "where the user is connected"]
    assert "run `bbgram user delete`" in why  # the call of the server API erases nothing twice
    assert two.bench.redis.exists(names.user_edges_key(str(two.alice.id)))


def test_where_an_offline_user_was_connected_is_forgotten(two: Two, eraser: Eraser) -> None:
    two.bench.redis.zadd(names.LEASES_KEY, {two.bench.edge_id: 1})
    manifest = eraser(two.alice.id)
    assert "where the user is connected" not in {left.what for left in manifest.left}
    assert str(two.alice.id) not in json.dumps([str(key) for key in two.bench.redis.keys("*")])
    assert not two.bench.redis.sismember(names.edge_users_key(two.bench.edge_id), str(two.alice.id))
    assert two.bench.redis.sismember(names.edge_users_key(two.bench.edge_id), str(two.bob.id))


def test_entries_that_an_edge_may_not_have_read_stay(two: Two, eraser: Eraser) -> None:
    two.send(two.bob, "just now")
    before = two.bench.redis.xlen(names.inbox_key(two.bench.edge_id))
    eraser(two.alice.id, unread_s=600.0, settle_s=-600.0)
    assert two.bench.redis.xlen(names.inbox_key(two.bench.edge_id)) > before


def test_it_waits_for_workers_and_edges(two: Two, eraser: Eraser, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("functions.erasure.job.time.sleep", slept.append)
    eraser(two.alice.id, settle_s=10.0, unread_s=30.0, pacer=Pacer(600))
    assert [round(seconds, -1) for seconds in slept if seconds > 1] == [10.0, 40.0]


def test_a_user_who_was_removed_for_good_loses_what_is_left(two: Two, eraser: Eraser) -> None:
    live(two)
    two.bench.rows("SELECT remove_profile(:a)", a=two.alice.id)
    assert eraser(two.alice.id).complete
    assert SECRET not in everything(two)


def test_without_the_bucket_nothing_is_done_if_messages_are_archived(two: Two, eraser: Eraser) -> None:
    two.bench.rows("INSERT INTO archived_chats (chat_id, seqs) VALUES (:chat, '{[1,2)}')", chat=two.chat_id)
    with pytest.raises(SettingsError):
        eraser(two.alice.id)
    assert two.bench.rows("SELECT FROM erasures") == []


def test_a_chat_that_somebody_keeps_locked_ends_the_run_and_nothing_is_half_done(
    two: Two, eraser: Eraser
) -> None:
    live(two)
    with two.bench.engine.begin() as conn:
        conn.exec_driver_sql("SELECT FROM chats FOR UPDATE")
        with pytest.raises(ArchiveError):
            eraser(two.alice.id)
    assert eraser(two.alice.id).complete
