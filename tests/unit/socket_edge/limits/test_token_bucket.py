import pytest

from socket_edge.limits.rate import Rate


def test_a_burst_is_allowed_and_the_next_one_must_wait_for_a_token() -> None:
    rate = Rate(per_s=2, burst=3)
    assert [rate.take("alice", 100.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]


def test_what_is_refused_takes_nothing() -> None:
    rate = Rate(per_s=1, burst=1)
    rate.take("alice", 0.0)
    assert [rate.take("alice", 0.5) for _ in range(3)] == [0.5, 0.5, 0.5]
    assert rate.take("alice", 1.0) == 0


def test_tokens_come_back_at_the_rate_and_no_more_than_the_burst() -> None:
    rate = Rate(per_s=10, burst=5)
    for _ in range(5):
        rate.take("alice", 0.0)
    assert [rate.take("alice", 0.2) for _ in range(3)] == [0, 0, pytest.approx(0.1)]
    assert [rate.take("alice", 1_000.0) > 0 for _ in range(6)] == [False] * 5 + [True]


def test_looking_takes_nothing() -> None:
    rate = Rate(per_s=1, burst=1)
    assert [rate.wait_s("alice", 0.0) for _ in range(3)] == [0, 0, 0]
    rate.take("alice", 0.0)
    assert rate.wait_s("alice", 0.0) == 1


def test_every_key_has_a_bucket_of_its_own() -> None:
    rate = Rate(per_s=1, burst=1)
    assert [rate.take(key, 0.0) for key in ("alice", "bob", "alice")] == [0, 0, 1]


def test_an_amount_larger_than_the_bucket_takes_all_of_a_full_one() -> None:
    rate = Rate(per_s=10, burst=100)
    assert rate.take("alice", 0.0, 5_000) == 0
    assert rate.take("alice", 0.0) == pytest.approx(0.1)
    assert rate.take("alice", 1.0, 5_000) == pytest.approx(9)
    assert rate.take("alice", 10.0, 5_000) == 0


@pytest.mark.parametrize("now", [0.0, 1e-3, 12_345.678, 1e7 + 1 / 3])
@pytest.mark.parametrize(("per_s", "burst"), [(50, 500), (0.3, 7), (250_000, 5_000_000), (1 / 60, 1)])
def test_a_full_bucket_gives_exactly_its_burst_at_any_time(now: float, per_s: float, burst: int) -> None:
    rate = Rate(per_s, burst)
    assert rate.take("alice", now, burst) == 0
    assert rate.take("alice", now) > 0
    assert rate.take("alice", now + burst / per_s, burst) == 0


def test_without_a_rate_there_is_no_limit_and_nothing_is_remembered() -> None:
    rate = Rate(per_s=0, burst=1)
    assert {rate.take("alice", 0.0, 1e9) for _ in range(1_000)} == {0}
    assert len(rate) == 0


def test_a_higher_limit_has_buckets_of_its_own() -> None:
    rate = Rate(per_s=1, burst=2)
    tenfold = rate.times(10)
    assert sum(tenfold.take("alice", 0.0) == 0 for _ in range(100)) == 20
    assert rate.take("alice", 0.0) == 0


def test_only_buckets_that_are_not_full_are_remembered() -> None:
    rate = Rate(per_s=1, burst=10)
    for second in range(100):
        for number in range(1_000):
            rate.take((second, number), float(second))
        assert len(rate) <= 4_000


def test_who_comes_back_finds_the_bucket_as_it_was_left() -> None:
    rate = Rate(per_s=1, burst=10)
    for _ in range(10):
        rate.take("alice", 0.0)
    for number in range(10_000):
        rate.take(number, 5.0)
    assert [rate.take("alice", 5.0) > 0 for _ in range(6)] == [False] * 5 + [True]
