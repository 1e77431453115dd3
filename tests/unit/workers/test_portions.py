"""Batches are cut where pages would fill the memory, and nowhere else."""

import itertools

import msgspec

from infra.wire.batch import Event
from workers.portions import portions

_ids = itertools.count()


def events(name: str, count: int, user_id: str | None = None) -> list[Event]:
    return [
        Event(str(number), name, user_id or f"user-{number}", "socket", msgspec.Raw(b"{}"))
        for number in itertools.islice(_ids, count)
    ]


def sizes(batch: list[Event]) -> list[int]:
    cut = portions(batch)
    assert [event for portion in cut for event in portion] == batch
    return [len(portion) for portion in cut]


def test_a_batch_without_pages_is_never_cut() -> None:
    assert sizes(events("send_message", 1_000, "alice")) == [1_000]


def test_no_events_are_one_empty_portion() -> None:
    assert sizes([]) == [0]


def test_pages_of_many_users_are_cut_after_200() -> None:
    assert sizes(events("sync", 450)) == [200, 200, 50]


def test_pages_of_one_user_are_cut_after_20() -> None:
    assert sizes(events("get_messages", 50, "alice")) == [20, 20, 10]
    assert sizes(events("list_blocked", 50, "alice")) == [20, 20, 10]


def test_other_events_between_pages_do_not_count() -> None:
    batch = events("join_chat", 20, "alice") + events("send_message", 100, "alice")
    assert sizes(batch + events("join_chat", 1, "alice")) == [120, 1]
