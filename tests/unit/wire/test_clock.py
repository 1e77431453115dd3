"""Redis time advances between two readings, whatever the clock of the machine says."""

import time

import pytest

from infra.wire.clock import RedisClock


def test_before_the_first_reading_the_time_is_unknown() -> None:
    assert RedisClock().now_ms() is None


def test_a_reading_is_returned_in_milliseconds() -> None:
    assert RedisClock().note(1_800_000_000, 123_999) == 1_800_000_000_123


def test_time_advances_with_the_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RedisClock()
    monkeypatch.setattr(time, "monotonic", lambda: 1_000.0)
    clock.note(1_800_000_000, 0)
    monkeypatch.setattr(time, "monotonic", lambda: 1_002.5)
    assert clock.now_ms() == 1_800_000_002_500


def test_a_later_reading_replaces_the_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = RedisClock()
    monkeypatch.setattr(time, "monotonic", lambda: 1_000.0)
    clock.note(1_800_000_000, 0)
    clock.note(1_700_000_000, 0)
    assert clock.now_ms() == 1_700_000_000_000
