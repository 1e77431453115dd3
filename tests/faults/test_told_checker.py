"""The checker notices what the app's backend was not told, was told wrongly, or in another order."""

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checker import check
from tests.faults.records import Records, State, Stored, Told


def told_run() -> Records:
    """Return the records of a chat with three messages, of which the last was edited twice."""
    records = Records(healed_at=0.0, ended_at=100.0, last_seqs={"chat": 3, "another": 0})
    records.stored = [Stored(f"id {seq}", "chat", seq, "alice", "bob", f"text {seq}") for seq in (1, 2, 3)]
    records.stored[2] = replace(records.stored[2], change=2, state=State("edited"))
    records.told = [
        *(Told(f"created/{seq}", seq, "chat", seq, f"id {seq}", 0, f"text {seq}") for seq in (1, 2, 3)),
        *(Told(f"changed/{change}", 3 + change, "chat", 3, "id 3", change, "edited") for change in (1, 2)),
    ]
    return records


def counted(records: Records) -> dict[str, int]:
    """Return what is wrong with what was told."""
    broken = check(records).broken
    return {name: broken[name] for name in ("untold", "invented", "misordered") if name in broken}


def test_what_was_told_in_order_is_good_also_if_some_of_it_comes_again() -> None:
    records = told_run()
    assert counted(records) == {}
    assert records.told is not None
    records.told += records.told[1:4]
    assert counted(records) == {}


def test_nothing_is_expected_where_nobody_is_told() -> None:
    records = told_run()
    records.told = None
    assert counted(records) == {}


@pytest.mark.parametrize("place", [0, 2, 4])
def test_what_was_not_told_is_noticed(place: int) -> None:
    records = told_run()
    assert records.told is not None
    del records.told[place]
    assert counted(records) == {"untold": 1}


@pytest.mark.parametrize(
    "change", [{"message_id": "id 4"}, {"text": "another"}, {"seq": 9}, {"chat_id": "another"}]
)
def test_what_was_invented_is_noticed(change: dict[str, Any]) -> None:
    records = told_run()
    assert records.told is not None
    records.told.append(replace(records.told[0], event_id="created/9", number=9, **change))
    assert counted(records)["invented"] == 1


def test_a_change_that_was_never_made_is_noticed() -> None:
    records = told_run()
    assert records.told is not None
    records.told.append(replace(records.told[4], event_id="changed/3", number=6, change=3))
    assert counted(records) == {"invented": 1}


@pytest.mark.parametrize("place", [1, 4])
def test_what_comes_too_early_is_noticed(place: int) -> None:
    records = told_run()
    assert records.told is not None
    records.told[place - 1 : place + 1] = records.told[place], records.told[place - 1]
    assert counted(records)["misordered"] >= 1
