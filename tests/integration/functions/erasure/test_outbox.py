"""Erasing a user leaves nothing of theirs in webhooks that wait, and all that is of their peers."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from infra.store.erasures import Mode
from infra.store.profiles import DELETED_USERNAME
from infra.wire.webhooks import EVENTS
from tests.harness.two import Two
from tests.integration.functions.conftest import BenchFactory, Eraser

SECRET = "meet me at the old mill"


@pytest.fixture
def two(make_bench: BenchFactory) -> Two:
    """Two friends, and an endpoint that has not been told of anything."""
    two = Two.friends(make_bench(sweep_after_s=1e9, webhooks=dict.fromkeys(EVENTS, ("app",))))
    two.send(two.alice, SECRET, clientId="alices-own-id", data={"place": SECRET})
    two.send(two.bob, "I will", replyTo=3)
    two.do(two.alice, "react", chatId=two.chat_id, seq=4, emoji="👍", on=True)
    two.do(two.alice, "mark_as_read", chatId=two.chat_id, upTo=4)
    two.do(two.bob, "mark_as_read", chatId=two.chat_id, upTo=3)
    two.do(two.alice, "report", chatId=two.chat_id, seq=4, reason="rude", note=f"alices note: {SECRET}")
    two.do(two.bob, "report", chatId=two.chat_id, seq=3, reason="spam", note="bobs note")
    two.do(two.alice, "send_message", userId=str(two.alice.id), text=f"myself: {SECRET}")
    two.bench.rows("UPDATE outbox SET dead_at = now() WHERE number % 2 = 0")
    return two


@pytest.fixture
def eraser(two: Two, make_eraser: Callable[[Any], Eraser]) -> Eraser:
    return make_eraser(two.bench)


def facts(two: Two) -> list[tuple[str, Any]]:
    rows = two.bench.rows("SELECT event, body FROM outbox ORDER BY number")
    return [(row.event, json.loads(row.body)) for row in rows]


def test_their_words_and_their_name_are_gone_and_peers_keep_theirs(two: Two, eraser: Eraser) -> None:
    manifest = eraser(two.alice.id)
    left = facts(two)
    for trace in (SECRET, two.alice.name, "alices-own-id", "alices note", "👍"):
        assert trace not in json.dumps(left, ensure_ascii=False)
    messages = {body["seq"]: body for event, body in left if event == "message.created"}
    assert [messages[seq]["text"] for seq in sorted(messages)] == ["", "ho", "", "I will"]
    assert messages[3]["deletedAt"]
    assert messages[4]["recipientUsername"] == DELETED_USERNAME
    assert [body["note"] for event, body in left if event == "report.created"] == [None, "bobs note"]
    assert [body["userId"] for event, body in left if event == "message.read"] == [str(two.bob.id)]
    assert manifest.counts["postgres"]["outbox"] > 0
    assert eraser(two.alice.id).counts["postgres"]["outbox"] == manifest.counts["postgres"]["outbox"]


def test_anonymised_facts_stay_without_the_name(two: Two, eraser: Eraser) -> None:
    before = Counter(event for event, _ in facts(two))
    eraser(two.alice.id, Mode.ANONYMISE)
    left = facts(two)
    assert two.alice.name not in json.dumps(left)
    assert "myself" not in json.dumps(left)
    assert SECRET in [body["text"] for event, body in left if event == "message.created"]
    assert Counter(event for event, _ in left)["message.changed"] == before["message.changed"]


def test_a_body_that_cannot_be_read_is_gone(two: Two, eraser: Eraser) -> None:
    two.bench.rows("UPDATE outbox SET body = left(body, -1)")
    assert eraser(two.alice.id).complete
    assert str(two.alice.id) not in str(two.bench.rows("SELECT body FROM outbox"))


def test_an_event_about_them_alone_is_gone(two: Two, eraser: Eraser) -> None:
    two.bench.rows(
        "INSERT INTO outbox (endpoint, id, event, about, body)"
        " SELECT 'app', event, event, :a, CAST(json_build_object('userId', CAST(:a AS text)) AS text)"
        " FROM unnest(ARRAY['user.offline', 'notification.failed']) event",
        a=two.alice.id,
    )
    eraser(two.alice.id)
    assert not {"user.offline", "notification.failed"} & {event for event, _ in facts(two)}
