"""What a user wants of others is kept, and known on all devices."""

from typing import Any

import pytest

from infra.wire.errors import ErrorCode
from tests.harness.two import Two
from tests.harness.worker_bench import WorkerBench

AT_FIRST = {"messagesFrom": "everyone", "readReceipts": True, "showPresence": "chats", "pushTexts": True}


def test_at_first_everybody_may_write_and_friends_see_presence(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    assert two.do(two.alice, "get_settings") == {"success": True, "settings": AT_FIRST}


@pytest.mark.parametrize(
    "changed",
    [
        {"messagesFrom": "requests"},
        {"messagesFrom": "nobody"},
        {"readReceipts": False},
        {"showPresence": "everyone"},
        {"showPresence": "nobody"},
        {"pushTexts": False},
        {"pushTexts": False, "readReceipts": False, "messagesFrom": "nobody", "showPresence": "nobody"},
        {},
    ],
)
def test_what_is_given_changes_and_the_rest_stays(bench: WorkerBench, changed: dict[str, Any]) -> None:
    two = Two.strangers(bench)
    expected = {**AT_FIRST, **changed}
    assert two.settings(two.alice, **changed) == expected
    assert two.heard(two.alice, "settings_changed") == [expected]
    assert two.do(two.alice, "get_settings")["settings"] == expected
    assert two.do(two.bob, "get_settings")["settings"] == AT_FIRST
    assert two.settings(two.alice, **changed) == expected
    assert two.heard(two.alice, "settings_changed") == [expected]


@pytest.mark.parametrize(
    "changed",
    [
        {"messagesFrom": "friends"},
        {"messagesFrom": 5},
        {"readReceipts": "no"},
        {"readReceipts": 0},
        {"showPresence": True},
        {"pushTexts": "yes"},
    ],
)
def test_a_setting_that_does_not_exist_is_refused(bench: WorkerBench, changed: dict[str, Any]) -> None:
    two = Two.strangers(bench)
    assert two.do(two.alice, "update_settings", **changed) is ErrorCode.INVALID_PAYLOAD
    assert two.do(two.alice, "get_settings")["settings"] == AT_FIRST


def test_several_changes_in_one_batch_are_made_in_their_order(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    results = two.ask(
        two.event(two.alice, "update_settings", messagesFrom="nobody"),
        two.event(two.bob, "update_settings", pushTexts=False),
        two.event(two.alice, "update_settings", messagesFrom="requests", readReceipts=False),
    )
    assert results[2]["settings"] == {**AT_FIRST, "messagesFrom": "requests", "readReceipts": False}
    assert two.do(two.alice, "get_settings")["settings"] == results[2]["settings"]


def test_a_user_without_a_profile_has_no_settings(bench: WorkerBench) -> None:
    two = Two.strangers(bench)
    bench.rows("DELETE FROM profiles WHERE id = :id", id=two.alice.id)
    bench.rows("DELETE FROM profiles WHERE id = :id", id=two.alice.id)
    for name in ("get_settings", "update_settings"):
        assert two.do(two.alice, name) is ErrorCode.PROFILE_MISSING
