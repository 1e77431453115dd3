"""The checker notices what it is there for."""

from dataclasses import replace

from tests.faults.checker import Counts, check, recovery_s
from tests.faults.records import Delivered, Records, Sent, Stored, Try

GOOD = Counts(0, 0, 0, 0, 0, 0, 0, 0, 0)


def run_of_three() -> Records:
    """Make the records of a run in which nothing went wrong."""
    records = Records(healed_at=0.0, ended_at=100.0)
    for number in (1, 2, 3):
        attempt = Try(connection=1, sent_at=number, ended_at=number + 0.5, code="ok")
        records.sent.append(Sent("alice", "bob", f"text {number}", [attempt], f"id {number}"))
        records.stored.append(Stored(f"id {number}", "chat", number, "alice", "bob", f"text {number}"))
        records.delivered.append(Delivered("bob", 1, f"id {number}", number + 0.6))
    return records


def test_a_good_run_is_good() -> None:
    counts = check(run_of_three())
    assert counts == GOOD
    assert counts.all_kept


def test_a_lost_message_is_noticed() -> None:
    records = run_of_three()
    del records.stored[2]
    counts = check(records)
    assert counts == replace(GOOD, lost=1)
    assert not counts.all_kept


def test_a_message_stored_twice_is_noticed() -> None:
    records = run_of_three()
    records.stored.append(Stored("id 4", "chat", 4, "alice", "bob", "text 3"))
    records.delivered.append(Delivered("bob", 1, "id 4", 5.0))
    assert check(records) == replace(GOOD, stored_twice=1)


def test_a_message_delivered_twice_on_one_connection_is_noticed() -> None:
    records = run_of_three()
    records.delivered.append(records.delivered[0])
    assert check(records) == replace(GOOD, delivered_twice=1)


def test_a_message_that_comes_again_on_another_connection_is_allowed() -> None:
    records = run_of_three()
    records.delivered.append(replace(records.delivered[0], connection=2))
    assert check(records) == GOOD


def test_a_message_that_is_refused_for_good_is_noticed() -> None:
    records = run_of_three()
    records.sent.append(Sent("alice", "bob", "text 4", [Try(1, 4.0, 4.5, "internal")]))
    assert check(records) == replace(GOOD, refused=1)
    records.sent[-1].is_poison = True
    assert check(records) == GOOD


def test_a_hole_is_noticed() -> None:
    records = run_of_three()
    records.stored[2] = replace(records.stored[2], seq=4)
    assert check(records) == replace(GOOD, holes=1)


def test_a_reordered_message_is_noticed() -> None:
    records = run_of_three()
    records.stored[0], records.stored[1] = (
        replace(records.stored[0], seq=2),
        replace(records.stored[1], seq=1),
    )
    assert check(records) == replace(GOOD, reordered=1)


def test_a_request_without_an_answer_is_noticed() -> None:
    records = run_of_three()
    records.sent.append(Sent("alice", "bob", "text 4", [Try(1, 50.0)]))
    assert check(records) == replace(GOOD, unanswered=1)


def test_a_message_that_does_not_arrive_is_noticed() -> None:
    records = run_of_three()
    del records.delivered[1]
    assert check(records) == replace(GOOD, undelivered=1)


def test_a_message_that_arrives_too_late_is_noticed() -> None:
    records = run_of_three()
    records.delivered[1] = replace(records.delivered[1], at=20.0)
    assert check(records) == replace(GOOD, late=1)
    records.healed_at = 10.0
    assert check(records) == GOOD


def test_recovery_is_when_the_last_sender_is_served_again() -> None:
    records = run_of_three()
    records.healed_at = 2.0
    records.sent.append(Sent("bob", "alice", "text 4", [Try(1, 1.0, 6.0, "ok")], "id 4"))
    assert recovery_s(records) == 4.0
