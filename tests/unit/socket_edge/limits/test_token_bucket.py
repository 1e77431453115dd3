import pytest

from socket_edge.limits.token_bucket import TokenBucket


def test_a_burst_is_allowed_and_the_next_one_must_wait_for_a_token() -> None:
    bucket = TokenBucket(per_s=2, burst=3)
    assert [bucket.take("alice", 100.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]


def test_a_refused_request_takes_no_tokens() -> None:
    bucket = TokenBucket(per_s=1, burst=1)
    bucket.take("alice", 0.0)
    assert [bucket.take("alice", 0.5) for _ in range(3)] == [0.5, 0.5, 0.5]
    assert bucket.take("alice", 1.0) == 0


def test_tokens_come_back_at_the_rate_and_no_more_than_the_burst() -> None:
    bucket = TokenBucket(per_s=10, burst=5)
    for _ in range(5):
        bucket.take("alice", 0.0)
    assert [bucket.take("alice", 0.2) for _ in range(3)] == [0, 0, pytest.approx(0.1)]
    assert [bucket.take("alice", 1_000.0) > 0 for _ in range(6)] == [False] * 5 + [True]


def test_asking_for_the_wait_takes_no_tokens() -> None:
    bucket = TokenBucket(per_s=1, burst=1)
    assert [bucket.wait_s("alice", 0.0) for _ in range(3)] == [0, 0, 0]
    bucket.take("alice", 0.0)
    assert bucket.wait_s("alice", 0.0) == 1


def test_every_key_has_a_bucket_of_its_own() -> None:
    bucket = TokenBucket(per_s=1, burst=1)
    assert [bucket.take(key, 0.0) for key in ("alice", "bob", "alice")] == [0, 0, 1]


def test_an_amount_larger_than_the_bucket_takes_all_of_a_full_one() -> None:
    bucket = TokenBucket(per_s=10, burst=100)
    assert bucket.take("alice", 0.0, 5_000) == 0
    assert bucket.take("alice", 0.0) == pytest.approx(0.1)
    assert bucket.take("alice", 1.0, 5_000) == pytest.approx(9)
    assert bucket.take("alice", 10.0, 5_000) == 0


@pytest.mark.parametrize("now", [0.0, 1e-3, 12_345.678, 1e7 + 1 / 3])
@pytest.mark.parametrize(("per_s", "burst"), [(50, 500), (0.3, 7), (250_000, 5_000_000), (1 / 60, 1)])
def test_a_full_bucket_gives_exactly_its_burst_at_any_time(now: float, per_s: float, burst: int) -> None:
    bucket = TokenBucket(per_s, burst)
    assert bucket.take("alice", now, burst) == 0
    assert bucket.take("alice", now) > 0
    assert bucket.take("alice", now + burst / per_s, burst) == 0


def test_a_rate_of_0_is_no_limit_and_remembers_nothing() -> None:
    bucket = TokenBucket(per_s=0, burst=1)
    assert {bucket.take("alice", 0.0, 1e9) for _ in range(1_000)} == {0}
    assert len(bucket) == 0


def test_a_higher_limit_has_buckets_of_its_own() -> None:
    bucket = TokenBucket(per_s=1, burst=2)
    tenfold = bucket.times(10)
    assert sum(tenfold.take("alice", 0.0) == 0 for _ in range(100)) == 20
    assert bucket.take("alice", 0.0) == 0


def test_only_buckets_that_are_not_full_are_remembered() -> None:
    bucket = TokenBucket(per_s=1, burst=10)
    for second in range(100):
        for number in range(1_000):
            bucket.take((second, number), float(second))
        assert len(bucket) <= 4_000


def test_a_key_that_comes_back_finds_its_bucket_as_it_was_left() -> None:
    bucket = TokenBucket(per_s=1, burst=10)
    for _ in range(10):
        bucket.take("alice", 0.0)
    for number in range(10_000):
        bucket.take(number, 5.0)
    assert [bucket.take("alice", 5.0) > 0 for _ in range(6)] == [False] * 5 + [True]
