import pytest

from infra.settings.edge import EdgeSettings
from infra.wire.errors import ErrorCode
from socket_edge.limits.quota import FLOOD, Quota, TooFast
from socket_edge.limits.rate import Rate


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock, *, events: int = 2, size: int = 1_000, sign_ins: int = 2) -> Quota:
    return Quota(Rate(1, events), Rate(100, size), Rate(1, sign_ins), clock)


def outcome(quota: Quota, user_id: str = "alice", size: int = 10) -> str:
    try:
        quota.spend(user_id, size)
    except TooFast as error:
        return "flood" if error.is_flood else "refused"
    return "taken"


def test_a_refusal_says_when_to_try_again() -> None:
    clock = Clock()
    quota = make(clock)
    assert [outcome(quota), outcome(quota)] == ["taken", "taken"]
    clock.now += 0.25
    with pytest.raises(TooFast) as refusal:
        quota.spend("alice", 10)
    failure = refusal.value.failure()
    assert (failure.code, failure.code.retryable) == (ErrorCode.RATE_LIMITED, True)
    assert failure.retry_after_ms == 750
    clock.now += 0.75
    assert outcome(quota) == "taken"


def test_bytes_are_limited_even_if_events_are_few() -> None:
    quota = make(Clock(), events=100)
    assert [outcome(quota, size=600), outcome(quota, size=600), outcome(quota, size=300)] == [
        "taken",
        "refused",
        "taken",
    ]


def test_what_is_refused_for_its_bytes_is_no_event_and_the_other_way_round() -> None:
    quota = make(Clock(), events=2)
    assert [outcome(quota, size=n) for n in (900, 900, 50, 10, 10)] == [
        "taken",
        "refused",
        "taken",
        "refused",
        "refused",
    ]


def test_users_do_not_share() -> None:
    quota = make(Clock(), events=1)
    assert [outcome(quota, user) for user in ("alice", "bob", "alice")] == ["taken", "taken", "refused"]


def test_refused_events_are_a_flood_beyond_a_number() -> None:
    quota = make(Clock(), events=2)
    outcomes = [outcome(quota) for _ in range(100)]
    assert [outcomes.count(one) for one in ("taken", "refused")] == [2, 2 * FLOOD]
    assert set(outcomes[2 + 2 * FLOOD :]) == {"flood"}


def test_a_little_too_fast_for_ever_is_no_flood() -> None:
    clock = Clock()
    quota = make(clock)
    for _ in range(1_000):
        clock.now += 0.2
        assert outcome(quota) != "flood"


def test_sign_ins_are_limited_by_user() -> None:
    clock = Clock()
    quota = make(clock)
    for user in ("alice", "alice", "bob"):
        quota.sign_in(user)
    with pytest.raises(TooFast):
        quota.sign_in("alice")
    clock.now += 1
    quota.sign_in("alice")


def test_nobody_notices_the_defaults_who_does_much_at_once() -> None:
    fields = EdgeSettings.model_fields

    def rate(name: str) -> Rate:
        return Rate(fields[f"rate_{name}"].default, fields[f"rate_{name}_burst"].default)

    quota = Quota(rate("events"), rate("bytes"), rate("sign_ins"), Clock())
    for _ in range(50):
        quota.sign_in("alice")
        assert outcome(quota, size=65_536) == "taken"
    assert {outcome(quota, size=500) for _ in range(400)} == {"taken"}
