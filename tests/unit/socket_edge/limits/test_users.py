import pytest

from infra.settings.edge import EdgeSettings
from infra.wire.errors import ErrorCode, Rejection
from socket_edge.limits.token_bucket import TokenBucket
from socket_edge.limits.users import UserLimiter

FLOOD = 10
"""This many times the event limit may be refused before it counts as a flood."""


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock, *, events: int = 2, size: int = 1_000, sign_ins: int = 2) -> UserLimiter:
    return UserLimiter(TokenBucket(1, events), TokenBucket(100, size), TokenBucket(1, sign_ins), clock)


def outcome(limiter: UserLimiter, user_id: str = "alice", size: int = 10) -> str:
    try:
        limiter.event(user_id, size)
    except Rejection:
        return "refused" if limiter.allows(user_id, "connection", size) else "flood"
    return "taken"


def test_a_refusal_says_when_to_try_again() -> None:
    clock = Clock()
    limiter = make(clock)
    assert [outcome(limiter), outcome(limiter)] == ["taken", "taken"]
    clock.now += 0.25
    with pytest.raises(Rejection) as rejection:
        limiter.event("alice", 10)
    failure = rejection.value.failure()
    assert (failure.code, failure.code.retryable) == (ErrorCode.RATE_LIMITED, True)
    assert failure.retry_after_ms == 750
    clock.now += 0.75
    assert outcome(limiter) == "taken"


def test_bytes_are_limited_even_if_events_are_few() -> None:
    limiter = make(Clock(), events=100)
    assert [outcome(limiter, size=600), outcome(limiter, size=600), outcome(limiter, size=300)] == [
        "taken",
        "refused",
        "taken",
    ]


def test_an_event_refused_for_its_bytes_does_not_count_and_vice_versa() -> None:
    limiter = make(Clock(), events=2)
    assert [outcome(limiter, size=n) for n in (900, 900, 50, 10, 10)] == [
        "taken",
        "refused",
        "taken",
        "refused",
        "refused",
    ]


def test_users_do_not_share() -> None:
    limiter = make(Clock(), events=1)
    assert [outcome(limiter, user) for user in ("alice", "bob", "alice")] == ["taken", "taken", "refused"]


def test_refused_events_are_a_flood_beyond_a_number() -> None:
    limiter = make(Clock(), events=2)
    outcomes = [outcome(limiter) for _ in range(100)]
    assert [outcomes.count(one) for one in ("taken", "refused")] == [2, 2 * FLOOD]
    assert set(outcomes[2 + 2 * FLOOD :]) == {"flood"}


def test_a_client_that_is_always_a_little_too_fast_is_not_a_flood() -> None:
    clock = Clock()
    limiter = make(clock)
    for _ in range(1_000):
        clock.now += 0.2
        assert outcome(limiter) != "flood"


def test_sign_ins_are_limited_by_user() -> None:
    clock = Clock()
    limiter = make(clock)
    for user in ("alice", "alice", "bob"):
        limiter.sign_in(user)
    with pytest.raises(Rejection):
        limiter.sign_in("alice")
    clock.now += 1
    limiter.sign_in("alice")


def test_a_busy_user_stays_within_the_defaults() -> None:
    fields = EdgeSettings.model_fields

    def bucket(name: str) -> TokenBucket:
        return TokenBucket(fields[f"rate_{name}"].default, fields[f"rate_{name}_burst"].default)

    limiter = UserLimiter(bucket("events"), bucket("bytes"), bucket("sign_ins"), Clock())
    for _ in range(50):
        limiter.sign_in("alice")
        assert outcome(limiter, size=65_536) == "taken"
    assert {outcome(limiter, size=500) for _ in range(400)} == {"taken"}


def test_acks_and_pings_may_come_ten_times_as_fast_as_events() -> None:
    limiter = make(Clock(), events=2)
    allowed = [limiter.allows("alice", "connection", 1) for _ in range(3 * FLOOD)]
    assert allowed == [True] * 2 * FLOOD + [False] * FLOOD


def test_the_bytes_of_acks_and_pings_are_limited_too() -> None:
    limiter = make(Clock(), events=100, size=1_000)
    assert [limiter.allows("alice", "connection", 4_000) for _ in range(3)] == [True, True, False]


def test_acks_and_pings_leave_the_events_of_the_user_alone() -> None:
    limiter = make(Clock(), events=2)
    while limiter.allows("alice", "connection", 1):
        pass
    assert outcome(limiter) == "taken"


def test_bytes_may_be_counted_without_a_packet() -> None:
    limiter = make(Clock(), events=1, size=1_000)
    assert all(limiter.allows("alice", "connection", 1, count=0) for _ in range(100))
    assert [limiter.allows("alice", "connection", 9_900, count=0) for _ in range(2)] == [True, False]
    limiter = make(Clock(), events=1, size=1_000)
    assert all(limiter.allows("alice", "connection", 0) for _ in range(FLOOD))
    assert not limiter.allows("alice", "connection", 0)
    assert limiter.allows("alice", "connection", 1, count=0)
