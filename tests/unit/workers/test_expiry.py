"""Work that nobody waits for any more is dropped, by the clock of Redis and no other."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest
from celery.worker.request import Request as CeleryRequest

from infra.wire.batch import Batch, Event
from infra.wire.clock import RedisClock
from workers.expiry import drop_expired, punctual, still_wanted

NOW_MS = 1_800_000_000_000


class FakeRedis:
    """Tells a time of its own, and counts how often it is asked."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.asked = 0

    def time(self) -> tuple[int, int]:
        self.asked += 1
        return self.now_ms // 1000, self.now_ms % 1000 * 1000


@pytest.fixture
def fake_redis() -> FakeRedis:
    return FakeRedis()


def events(*expiries_ms: int) -> list[Event]:
    return [
        Event(str(number), "typing", "u", "s", msgspec.Raw(b"{}"), expires_ms)
        for number, expires_ms in enumerate(expiries_ms)
    ]


def kept(redis: FakeRedis, clock: RedisClock, *expiries_ms: int) -> list[int]:
    (batch,) = drop_expired([Batch("b", "e", events(*expiries_ms))], cast(Any, redis), clock)
    return [int(event.id) for event in batch.events]


def test_only_what_is_past_its_deadline_is_dropped(fake_redis: FakeRedis) -> None:
    assert kept(fake_redis, RedisClock(), NOW_MS - 1, NOW_MS + 5_000, 0) == [1, 2]


def test_several_batches_ask_for_the_time_once(fake_redis: FakeRedis) -> None:
    batches = [Batch(str(number), "e", events(NOW_MS - 1, NOW_MS + 5_000)) for number in range(3)]
    fresh = drop_expired(batches, cast(Any, fake_redis), RedisClock())
    assert [(batch.id, len(batch.events)) for batch in fresh] == [("0", 1), ("1", 1), ("2", 1)]
    assert fake_redis.asked == 1


def test_what_expires_between_portions_is_not_wanted_any_more() -> None:
    clock = RedisClock()
    asked = events(NOW_MS - 1, NOW_MS + 5_000, 0)
    assert still_wanted(asked, clock) == asked
    clock.note(NOW_MS // 1000, 0)
    assert [event.id for event in still_wanted(asked, clock)] == ["1", "2"]


def test_a_known_time_is_not_asked_for_again(fake_redis: FakeRedis) -> None:
    clock = RedisClock()
    kept(fake_redis, clock, NOW_MS + 5_000)
    kept(fake_redis, clock, NOW_MS + 5_000)
    assert fake_redis.asked == 1


def test_a_clock_that_was_set_back_drops_nothing_that_is_fresh(fake_redis: FakeRedis) -> None:
    clock = RedisClock()
    kept(fake_redis, clock, NOW_MS + 5_000)
    fake_redis.now_ms -= 60_000
    assert kept(fake_redis, clock, fake_redis.now_ms + 10_000) == [0]


def test_the_clock_of_the_machine_does_not_matter(
    fake_redis: FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW_MS / 1000 + 7_200)
    assert kept(fake_redis, RedisClock(), NOW_MS + 5_000) == [0]


@pytest.mark.parametrize("late_s", [-1, 1])
@pytest.mark.parametrize("own_clock_s", [-7200, 0, 7200])
def test_a_task_is_late_by_the_time_of_redis(fake_redis: FakeRedis, late_s: int, own_clock_s: int) -> None:
    due = datetime.now(UTC) + timedelta(seconds=own_clock_s)
    fake_redis.now_ms = int((due.timestamp() + late_s) * 1000)
    request = object.__new__(punctual(CeleryRequest, lambda: cast(Any, fake_redis)))
    request.expires = due
    assert request.maybe_expire() is (late_s > 0)
