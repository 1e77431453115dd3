"""Batches are cut where pages would fill the memory, and, if they are slow, between kinds of events."""

import itertools

import msgspec

from infra.wire.batch import Batch, Event
from workers.portions import finished, portions

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


def test_kinds_that_are_handled_apart_keep_the_order_in_which_a_batch_is_handled() -> None:
    batch = [
        *events("sync", 1),
        *events("send_message", 2),
        *events("mark_as_read", 1),
        *events("no_such_command", 1),
        *events("unblock_user", 1),
        *events("block_user", 1),
        *events("send_message", 1),
    ]
    cut = portions(batch, apart=True)
    assert [[event.name for event in portion] for portion in cut] == [
        ["no_such_command"],
        ["mark_as_read"],
        ["unblock_user", "block_user"],
        ["send_message"] * 3,
        ["sync"],
    ]
    assert list(cut[3]) == [event for event in batch if event.name == "send_message"]


def test_kinds_that_are_handled_apart_are_cut_where_pages_would_fill_the_memory() -> None:
    batch = events("sync", 250) + events("send_message", 10)
    assert [len(portion) for portion in portions(batch, apart=True)] == [10, 200, 50]


def test_no_events_are_one_empty_portion_also_if_kinds_are_handled_apart() -> None:
    assert [len(portion) for portion in portions([], apart=True)] == [0]


def test_a_batch_is_finished_with_the_portion_that_holds_the_last_of_its_events() -> None:
    kinds = {
        "empty": [],
        "mixed": [*events("sync", 1), *events("send_message", 1)],
        "marks": events("mark_as_read", 2),
        "sends": events("send_message", 2),
        "both": [*events("send_message", 1), *events("mark_as_read", 1)],
    }
    batches = [Batch(id, "edge", list(held)) for id, held in kinds.items()]
    parts = portions([event for batch in batches for event in batch.events], apart=True)
    closed = [[batch.id for batch in one] for one in finished(batches, parts)]
    assert closed == [["empty", "marks"], ["sends", "both"], ["mixed"]]


def test_with_a_single_portion_all_batches_are_finished() -> None:
    batches = [Batch(str(number), "edge", events("send_message", number)) for number in range(3)]
    parts = portions([event for batch in batches for event in batch.events])
    assert finished(batches, parts) == [batches]
