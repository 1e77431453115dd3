"""One bad row stops no run: its user is skipped, counted and logged, and everybody else is served."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from functions import offline_delivery as module
from functions.channels.channel import Channel
from functions.channels.outbound import make_session
from functions.channels.web_push import WebPushChannel
from functions.channels.webhook import WebhookChannel
from functions.offline_delivery import offline_delivery
from functions.pacer import Pacer
from functions.push import Push, push_open
from tests.integration.functions.notices import ListChannel, Notices

Poison = Callable[[Notices], None]

QUIET = "00:00-23:59"
"""Quiet hours that are never over, but for a minute."""
ZONES = ("localtime", "Atlantis", "../../etc/passwd", "", "/", "Europe/Berlin ", "x" * 100_000, "\u202e💥")
NAMES = (
    "x" * 100_000,
    "e" + "\u0301" * 5_000,
    "👨‍👩‍👧‍👦" * 500,
    "\u202e\u2066\x01\x7f",
    "\r\nBcc: eve",
    "{}",
)
DEVICES = {
    "an address that is none": {"address": "https://["},
    "an address of this machine": {"address": "https://127.0.0.1/"},
    "a long address": {"address": "https://" + "x" * 2_000},
    "an address beyond Unicode's rules": {"address": "https://xn--\ud7ff.example/\u202e"},
    "no address": {"address": ""},
    "keys that are none": {"p256dh": "{", "auth": '{"a":'},
    "endless keys": {"p256dh": "A" * 100_000, "auth": "A" * 100_000},
    "keys in another alphabet": {"p256dh": "ключ", "auth": "💥"},
    "no keys": {"p256dh": None, "auth": None},
    "an endpoint of another channel": {"endpoint": "x" * 100_000},
}
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"


@pytest.fixture
def crowd(notices: Notices) -> Notices:
    """Have bob and five others miss a message."""
    for number in range(5):
        user_id, name = notices.bench.person(f"user{number}")
        notices.register(user_id, address=f"token-{number}")
        notices.send("hello", to=name)
    notices.register(notices.bob, address="bobs")
    notices.send("hello")
    return notices


def change_device(notices: Notices, **values: str | None) -> None:
    """Change bob's device behind the back of `register_device`."""
    columns = ", ".join(f"{column} = :{column}" for column in values)
    notices.bench.rows(f"UPDATE devices SET {columns} WHERE user_id = :bob", bob=notices.bob, **values)


@pytest.mark.parametrize("zone", ZONES, ids=lambda zone: ascii(zone[:20]))
def test_a_zone_that_does_not_exist_counts_as_none(crowd: Notices, fcm: ListChannel, zone: str) -> None:
    change_device(crowd, time_zone=zone)
    crowd.let_pass(61)
    assert crowd.deliver(quiet_hours=QUIET) == {"quiet": 6}
    crowd.let_pass(86_400)
    assert crowd.deliver() == {"notified": 6, "queued": 6}
    sender = crowd.push(fcm, quiet_hours=QUIET)
    assert [sender.attempt(notification_id) for notification_id in crowd.queue.ids] == ["quiet"] * 6


def written_before_all_time(notices: Notices) -> None:
    notices.bench.rows("UPDATE messages SET created_at = '-infinity' WHERE recipient_id = :u", u=notices.bob)


def last_notified_at_the_end_of_time(notices: Notices) -> None:
    notices.bench.rows(
        "INSERT INTO notifications (id, user_id, chat_ids, first_seqs, last_seqs, created_at, finished_at)"
        " VALUES (gen_random_uuid(), :u, '{}', '{}', '{}', 'infinity', now())",
        u=notices.bob,
    )


def a_row_that_cannot_be_written(notices: Notices) -> None:
    notices.bench.rows(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'refused'; END $$"
    )
    notices.bench.rows(
        "CREATE TRIGGER refuse BEFORE INSERT ON notifications FOR EACH ROW"
        f" WHEN (NEW.user_id = '{notices.bob}') EXECUTE FUNCTION refuse()"
    )


@pytest.mark.parametrize("rows", [1_000, 2])
@pytest.mark.parametrize(
    "poison", [written_before_all_time, last_notified_at_the_end_of_time, a_row_that_cannot_be_written]
)
def test_a_user_who_cannot_be_planned_for_is_skipped(
    crowd: Notices, monkeypatch: pytest.MonkeyPatch, poison: Poison, rows: int
) -> None:
    monkeypatch.setattr(module, "_ROWS", rows)
    crowd.let_pass(61)
    poison(crowd)
    try:
        for expected in ({"notified": 5, "failed": 1, "queued": 5}, {}):
            with capture_logs() as logs:
                assert crowd.deliver() == expected
            skipped = [line for line in logs if line["event"] == "user_skipped"]
            assert [line["user"] for line in skipped] == [str(crowd.bob)] * expected.get("failed", 0)
        crowd.let_pass(61)
        assert crowd.deliver() == {"failed": 1}, "it is tried again in the place of the others"
    finally:
        crowd.bench.rows("DROP TRIGGER IF EXISTS refuse ON notifications")


def test_a_dry_run_skips_them_too(crowd: Notices) -> None:
    crowd.let_pass(61)
    written_before_all_time(crowd)
    assert crowd.deliver(dry_run=True) == {"notified": 5, "failed": 1}
    assert crowd.spans() == []


def test_an_unreachable_service_ends_the_run(crowd: Notices) -> None:
    crowd.let_pass(61)
    away = crowd.context(redis_url="redis://127.0.0.1:1")
    with pytest.raises(Exception, match="refused"):
        offline_delivery(away, Pacer(60), False)
    assert crowd.deliver() == {"notified": 6, "queued": 6}


def test_a_plan_that_does_not_move_a_user_on_is_made_once(
    crowd: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Any] = []
    monkeypatch.setattr(module, "write_plan", lambda _, plan: plans.append(plan))
    monkeypatch.setattr(module, "_ROWS", 4)
    crowd.let_pass(61)
    assert crowd.deliver()["notified"] <= 6
    handled = [notification["user_id"] for plan in plans for notification in plan.notifications]
    assert len(handled) == len(set(handled))


def test_a_run_that_has_handled_as_many_users_as_it_remembers_leaves_the_others(
    crowd: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS", 2)
    monkeypatch.setattr(module, "_USERS", 4)
    crowd.let_pass(61)
    assert crowd.deliver() == {"notified": 4, "queued": 4}
    assert crowd.deliver() == {"notified": 2, "queued": 2}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_a_name_that_no_user_may_have_is_quoted_or_shortened(
    crowd: Notices, fcm: ListChannel, name: str
) -> None:
    crowd.bench.rows("UPDATE profiles SET username = :n WHERE id = :u", n=name, u=crowd.alice)
    crowd.let_pass(61)
    crowd.deliver()
    sender = crowd.push(fcm)
    assert [sender.attempt(notification_id) for notification_id in crowd.queue.ids] == ["sent"] * 6
    assert all(len(notice.title) < 200 for _, notice in fcm.notices)


@pytest.mark.parametrize("channel", ["webpush", "webhook", "fcm"])
@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_a_device_that_cannot_work_is_not_the_others_concern(
    crowd: Notices, fcm: ListChannel, channel: str, device: dict[str, str | None]
) -> None:
    crowd.register(crowd.bob, address="second")
    crowd.bench.rows("DELETE FROM devices WHERE address = 'bobs'")
    crowd.bench.rows(
        "INSERT INTO devices (id, user_id, channel, address) VALUES (gen_random_uuid(), :u, :c, 'bad')",
        u=crowd.bob,
        c=channel,
    )
    columns = ", ".join(f"{column} = :{column}" for column in device)
    crowd.bench.rows(f"UPDATE devices SET {columns} WHERE address = 'bad'", **device)
    crowd.let_pass(61)
    crowd.deliver()
    with make_session() as session:
        channels: dict[str, Channel] = {
            "fcm": fcm,
            "webpush": WebPushChannel(session, KEY, "mailto:admin@example.com"),
            "webhook": WebhookChannel(session, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        }
        sender = Push(crowd.context(push_log=False, push_tries=1), channels)
        assert [sender.attempt(notification_id) for notification_id in crowd.queue.ids] == ["sent"] * 6


def test_a_notification_that_cannot_be_read_is_left_and_counted(crowd: Notices) -> None:
    crowd.let_pass(61)
    crowd.deliver()
    ((bad,),) = crowd.bench.rows("SELECT id FROM notifications WHERE user_id = :u", u=crowd.bob)
    crowd.bench.rows(
        "UPDATE notifications SET first_seqs = '{1}', tries = 9223372036854775807 WHERE id = :n", n=bad
    )
    with capture_logs() as logs:
        summary = push_open(crowd.context(), Pacer(60), False)
    assert (summary["sent"], summary["crashed"]) == (5, 1)
    (crashed,) = [line for line in logs if line["event"] == "notification_crashed"]
    assert UUID(crashed["notification"]) == bad
