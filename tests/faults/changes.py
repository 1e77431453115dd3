"""Counts what must never happen to changes of messages: lost, made twice, or unknown to a client."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

from tests.faults.blocks import Blocks
from tests.faults.records import Change, Records, Seen, State, Stored
from tests.faults.wanted import possible

Position = tuple[str, int]
"""Chat and seq."""


def lost_changes(records: Records, blocks: Blocks) -> int:
    """Return how many messages are not what their changes have made of them.

    A change without an answer may or may not have been made, and so may one that was refused afterwards,
    unless a block forbids it.
    """
    changes: dict[Position, list[Change]] = defaultdict(list)
    for change in records.changes:
        if change.may_be_done and not blocks.forbid(change):
            changes[change.chat_id, change.seq].append(change)
    return sum(1 for row in records.stored if not _is_explained(row, changes[row.chat_id, row.seq]))


def misnumbered_changes(records: Records) -> int:
    """Return in how many chats changes were made twice, or have no number, or share one."""
    asked: dict[str, list[Change]] = defaultdict(list)
    for change in records.changes:
        asked[change.chat_id].append(change)
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in records.stored:
        if row.change:
            numbers[row.chat_id].append(row.change)
    disputed = _disputed(records)
    return sum(
        1
        for chat_id in records.last_changes.keys() | asked.keys() | numbers.keys()
        if chat_id in disputed
        or not _is_counted(records.last_changes.get(chat_id, 0), asked[chat_id], numbers[chat_id])
    )


def stale_copies(records: Records) -> int:
    """Return of how many changed messages a user has another state than the store, after a last sync."""
    users = {user_id for user_id, _, _ in records.copies}
    return sum(
        1
        for row in records.stored
        if row.change
        for user_id in {row.sender, row.recipient} & users
        for copies in (records.copies, records.synced)
        if copies.get((user_id, row.chat_id, row.seq)) != (row.change, row.state)
    )


def refused_changes(records: Records, blocks: Blocks) -> int:
    """Return how many changes were given up. One that a block forbids has to be.

    So has a reaction to what its sender has unsent.
    """
    unsent = {(one.chat_id, one.seq) for one in records.changes if one.kind == "unsend"}
    return sum(
        1
        for one in records.changes
        if one.is_refused
        and not blocks.explain(one)
        and not (one.kind == "react" and (one.chat_id, one.seq) in unsent and one.code == "not_allowed")
    )


def _is_explained(row: Stored, changes: Sequence[Change]) -> bool:
    """Return whether a message is what the changes have made of it."""
    state = row.state or State(row.text)
    unsent = [one for one in changes if one.kind == "unsend"]
    if state.is_unsent:
        return bool(unsent) and state == State("", is_unsent=True)
    if any(one.is_acked for one in unsent):
        return False
    texts = possible(row.text, ((one, one.value) for one in changes if one.kind == "edit"))
    return state.text in texts and _are_explained(state.reactions, changes)


def _are_explained(reactions: frozenset[tuple[str, str]], changes: Sequence[Change]) -> bool:
    asked: dict[tuple[str, str], list[Change]] = defaultdict(list)
    for one in changes:
        if one.kind == "react":
            asked[one.value, one.user_id].append(one)
    return all(
        (key in reactions) in possible(False, ((one, one.on) for one in asked[key]))
        for key in asked.keys() | reactions
    )


def _is_counted(last: int, asked: Sequence[Change], numbers: Sequence[int]) -> bool:
    """Return whether a chat has counted each change once, and no two messages have the same one.

    Reactions of both users to one message that are handled together are one change.
    """
    acked = sum(1 for one in asked if one.is_acked) - _together(asked)
    tried = sum(1 for one in asked if one.may_be_done)
    newest_is_stored = last == max(numbers, default=0)
    return acked <= last <= tried and newest_is_stored and max(Counter(numbers).values(), default=1) == 1


def _together(changes: Sequence[Change]) -> int:
    """Return how many pairs of reactions to one message may have been handled together."""
    reactions = [one for one in changes if one.kind == "react" and one.is_acked]
    return sum(
        1
        for one, other in combinations(reactions, 2)
        if one.seq == other.seq and one.user_id != other.user_id and _overlap(one, other)
    )


def _overlap(one: Change, other: Change) -> bool:
    first, last = sorted((one, other), key=lambda change: change.tries[0].sent_at)
    ended_at = first.tries[-1].ended_at
    return ended_at is None or last.tries[0].sent_at <= ended_at


def _disputed(records: Records) -> set[str]:
    """Return the chats in which clients were told different things of one change, or of one that is none."""
    told: Mapping[tuple[str, int], set[Seen]] = defaultdict(set)
    for seen in records.seen:
        told[seen.chat_id, seen.change].add(seen)
    for row in records.stored:
        if row.change and row.state:
            told[row.chat_id, row.change].add(Seen(row.chat_id, row.seq, row.change, row.state))
    return {
        chat_id
        for (chat_id, change), versions in told.items()
        if len(versions) > 1 or change > records.last_changes.get(chat_id, 0)
    }
