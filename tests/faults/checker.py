"""Counts what must never happen: messages, changes and blocks lost, doubled, reordered or late."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from tests.faults.blocks import Blocks, lost_blocks, slipped, stale_blocks
from tests.faults.changes import lost_changes, misnumbered_changes, refused_changes, stale_copies
from tests.faults.records import Records, Sent
from tests.faults.told import invented, misordered, untold

ANSWERED_WITHIN_S = 11.0
"""The deadline of a request is 10 s. An edge checks deadlines four times a second, and a client that shares
two cores with everything else may read the answer late."""
DELIVERED_WITHIN_S = 15.0
"""After the ack, or after the repair if that is later."""


@dataclass(frozen=True)
class Counts:
    """How often each of these happened."""

    lost: int
    """Acked, but not in the table."""
    refused: int
    """Given up because the answer was not retryable."""
    stored_twice: int
    delivered_twice: int
    """On one connection."""
    holes: int
    """Seqs that are missing or used twice."""
    reordered: int
    """Messages of one sender, acked at the first try on one connection, whose seqs are out of order."""
    unanswered: int
    """Requests without an answer by the deadline although their connection stayed open."""
    undelivered: int
    """In the table, but never delivered."""
    late: int
    """Delivered later than promised."""
    watermarks: int
    """Chat members whose watermarks do not match the clients' acks and reads."""
    changes_lost: int
    """Messages that are not what the acked edits, reactions and unsendings have made of them."""
    misnumbered: int
    """Chats in which a change was made twice, or numbers of changes are missing or used twice."""
    stale: int
    """Changed messages, and blocks, that a client knows otherwise than the store, after a last `sync`."""
    blocks_lost: int
    """Users who block whom they have not blocked last, or do not block whom they have."""
    slipped: int
    """Messages, edits and reactions that have passed a block."""
    untold: int
    """Messages, and last changes of messages, that the app's backend was not told of."""
    invented: int
    """Events of what is not in the table."""
    misordered: int
    """Events that were told after later ones of their chat."""

    @property
    def broken(self) -> dict[str, int]:
        """Return the counts that are not 0, by name."""
        return {name.replace("_", " "): count for name, count in asdict(self).items() if count}


def check(records: Records) -> Counts:
    """Return the counts of a run."""
    undelivered, late = _deliveries(records)
    blocks = Blocks(records)
    return Counts(
        lost=_lost(records),
        refused=_refused(records, blocks),
        stored_twice=_extra((row.sender, row.text) for row in records.stored),
        delivered_twice=_extra((one.user_id, one.connection, one.message_id) for one in records.delivered),
        holes=_holes(records),
        reordered=_reordered(records),
        unanswered=_unanswered(records),
        undelivered=undelivered,
        late=late,
        watermarks=wrong_watermarks(records),
        changes_lost=lost_changes(records, blocks),
        misnumbered=misnumbered_changes(records),
        stale=stale_copies(records) + stale_blocks(records),
        blocks_lost=lost_blocks(records),
        slipped=slipped(records, blocks),
        untold=untold(records),
        invented=invented(records),
        misordered=misordered(records),
    )


def recovery_s(records: Records) -> float:
    """Return how long after the repair the last sender was served again, in seconds."""
    first: dict[str, float] = {}
    for sent in records.sent:
        if records.healed_at <= sent.ended_at < math.inf:
            first[sent.sender] = min(sent.ended_at, first.get(sent.sender, sent.ended_at))
    return max(first.values(), default=records.healed_at) - records.healed_at


def _extra(things: Iterable[object]) -> int:
    return sum(count - 1 for count in Counter(things).values())


def _lost(records: Records) -> int:
    stored = {(row.id, row.sender, row.recipient, row.text) for row in records.stored}
    return sum(
        1
        for sent in records.sent
        if sent.message_id is not None
        and (sent.message_id, sent.sender, sent.recipient, sent.text) not in stored
    )


def _refused(records: Records, blocks: Blocks) -> int:
    messages = sum(
        1 for sent in records.sent if sent.is_refused and not sent.is_poison and not blocks.explain(sent)
    )
    asked = sum(1 for one in records.asked if one.attempt.is_final and one.attempt.code != "ok")
    return messages + asked + refused_changes(records, blocks)


def _holes(records: Records) -> int:
    seqs: dict[str, list[int]] = {chat_id: [] for chat_id in records.last_seqs}
    for row in records.stored:
        seqs[row.chat_id].append(row.seq)
    return sum(
        sum(
            1
            for one, other in pairwise([0, *sorted(chat), records.last_seqs[chat_id] + 1])
            if other != one + 1
        )
        for chat_id, chat in seqs.items()
    )


def _reordered(records: Records) -> int:
    seq_of = {row.id: row.seq for row in records.stored}
    by_connection: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for sent in _at_first_try(records.sent):
        if sent.message_id in seq_of:
            key = (sent.sender, sent.recipient, sent.tries[0].connection)
            by_connection[key].append(seq_of[sent.message_id])
    return sum(sum(1 for one, other in pairwise(seqs) if other <= one) for seqs in by_connection.values())


def _at_first_try(all_sent: Sequence[Sent]) -> list[Sent]:
    """Return the messages that needed one try, in the order of sending; retries have no defined order."""
    once = [sent for sent in all_sent if len(sent.tries) == 1 and sent.acked_at is not None]
    return sorted(once, key=lambda sent: sent.tries[0].sent_at)


def _unanswered(records: Records) -> int:
    return sum(
        1
        for attempt in records.tries()
        if (attempt.ended_at or records.ended_at) - attempt.sent_at > ANSWERED_WITHIN_S + records.margin_s
    )


def wrong_watermarks(records: Records) -> int:
    """Return how many members' watermarks are wrong, once everything is delivered and acked.

    They stand at the newest message to the member, or at a later one of the member's own. A `mark_as_read`
    without an answer may or may not have moved them.
    """
    newest: dict[tuple[str, str], int] = defaultdict(int)
    for row in records.stored:
        newest[row.chat_id, row.recipient] = max(row.seq, newest[row.chat_id, row.recipient])
    asked: dict[tuple[str | None, str], int] = defaultdict(int)
    done: dict[tuple[str | None, str], int] = defaultdict(int)
    for one in records.asked:
        member = (one.chat_id, one.user_id)
        asked[member] = max(one.up_to, asked[member])
        if one.attempt.code == "ok":
            done[member] = max(one.up_to, done[member])
    wrong = 0
    for key in newest.keys() | records.watermarks.keys():
        delivered, read = records.watermarks.get(key, (0, 0))
        is_delivered = newest[key] <= delivered <= records.last_seqs[key[0]]
        wrong += not (is_delivered and done[key] <= read <= asked[key])
    return wrong


def _deliveries(records: Records) -> tuple[int, int]:
    """Return how many messages did not reach the recipient, and how many did so too late."""
    first: dict[tuple[str, str], float] = {}
    for one in records.delivered:
        key = (one.user_id, one.message_id)
        first[key] = min(one.at, first.get(key, one.at))
    acked_at = {sent.text: sent.acked_at for sent in records.sent}
    undelivered = late = 0
    within_s = DELIVERED_WITHIN_S + records.margin_s
    for row in records.stored:
        at = first.get((row.recipient, row.id))
        due = max(acked_at.get(row.text) or records.healed_at, records.healed_at) + within_s
        if at is None:
            undelivered += 1
        elif at > due:
            late += 1
    return undelivered, late
