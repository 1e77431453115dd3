"""Counts what must never happen to blocks: lost, undone by nobody, or passed by what they forbid."""

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest

from tests.faults.records import Block, Change, Records, Sent
from tests.faults.wanted import possible

Pair = frozenset[str]


class Blocks:
    """When a message, edit or reaction could not pass a block, and when it need not have."""

    def __init__(self, records: Records) -> None:
        self._pairs = {row.chat_id: frozenset((row.sender, row.recipient)) for row in records.stored}
        self._certain: dict[Pair, list[tuple[float, float]]] = defaultdict(list)
        """Times from the ack of a block until its end is asked for."""
        self._possible: dict[Pair, list[tuple[float, float]]] = defaultdict(list)
        """Times from the first request for a block until the ack of its end."""
        for block, end in _with_ends(records):
            pair = frozenset((block.user_id, block.peer_id))
            self._certain[pair].append((block.ended_at, end.began_at if end else math.inf))
            self._possible[pair].append((block.began_at, end.ended_at if end else math.inf))

    def forbid(self, wanted: Sent | Change) -> bool:
        """Return whether all tries of this fall into a block. Unsending is never forbidden."""
        return _is_forbiddable(wanted) and any(
            begins_at <= wanted.began_at < math.inf and wanted.ended_at <= ends_at
            for begins_at, ends_at in self._certain[self._pair(wanted)]
        )

    def explain(self, wanted: Sent | Change) -> bool:
        """Return whether this was refused as if by a block while there may have been one."""
        return (
            _is_forbiddable(wanted)
            and wanted.code == "not_allowed"
            and any(
                wanted.began_at <= ends_at and begins_at <= wanted.ended_at
                for begins_at, ends_at in self._possible[self._pair(wanted)]
            )
        )

    def _pair(self, wanted: Sent | Change) -> Pair:
        if isinstance(wanted, Sent):
            return frozenset((wanted.sender, wanted.recipient))
        return self._pairs.get(wanted.chat_id, frozenset())


def lost_blocks(records: Records) -> int:
    """Return how many users block whom they have not blocked last, or do not block whom they have."""
    asked = _by_users(records)
    return sum(
        (users in records.blocked) not in possible(False, ((one, one.on) for one in asked[users]))
        for users in asked.keys() | records.blocked
    )


def stale_blocks(records: Records) -> int:
    """Return how many users are told of other blocks of theirs than are in the store, after the last sync."""
    stored: dict[str, set[str]] = defaultdict(set)
    for user_id, peer_id in records.blocked:
        stored[user_id].add(peer_id)
    users = records.listed.keys() | {one.user_id for one in records.blocks}
    return sum(records.listed.get(user_id) != stored[user_id] for user_id in users)


def slipped(records: Records, blocks: Blocks) -> int:
    """Return how many messages, edits and reactions have passed a block.

    What a block forbids may be neither acked nor stored nor delivered, nor may a message that was refused.
    """
    came = {row.text for row in records.stored} | {one.text for one in records.delivered}
    messages = sum(
        sent.is_acked or sent.text in came
        for sent in records.sent
        if blocks.forbid(sent) or (blocks.explain(sent) and not sent.may_be_done)
    )
    return messages + sum(change.is_acked and blocks.forbid(change) for change in records.changes)


def _is_forbiddable(wanted: Sent | Change) -> bool:
    return isinstance(wanted, Sent) or wanted.kind != "unsend"


def _with_ends(records: Records) -> Iterator[tuple[Block, Block | None]]:
    """Yield each block with the request that ends it. Users block and unblock in turn."""
    for asked in _by_users(records).values():
        for block, end in zip_longest(asked, asked[1:]):
            if block.on:
                yield block, end


def _by_users(records: Records) -> defaultdict[tuple[str, str], list[Block]]:
    """Return what was asked by each user about each other one."""
    asked: defaultdict[tuple[str, str], list[Block]] = defaultdict(list)
    for one in records.blocks:
        asked[one.user_id, one.peer_id].append(one)
    return asked
