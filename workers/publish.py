"""Publishes outcomes to the inbox streams of the edges that hold the sockets."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from redis import Redis

from infra.presence import Presence
from infra.wire import names
from infra.wire.batch import Batch
from infra.wire.errors import ErrorCode
from infra.wire.inbox import Answer, Emit, InboxEntry, Target
from workers.requests import Outcome

_ENTRY_BYTES = 64_000
"""Soft limit of one stream entry, so that no edge has to decode a huge one at once."""


class Publisher:
    """Writes one transaction of stream entries per outcome: all edges get theirs, or none does."""

    def __init__(self, redis: Redis, presence: Presence, inbox_entries: int) -> None:
        self._redis = redis
        self._presence = presence
        self._inbox_entries = inbox_entries

    def publish(self, outcome: Outcome, batch: Batch | None = None) -> None:
        """Send emits to where their users are, and the answers to the edge that asked.

        Raises redis.RedisError. Two round trips, whatever the number of messages and edges.
        """
        edges_of = self._presence.edges_of({target.user_id for emit in outcome.emits for target in emit.to})
        emits: dict[str, list[Emit]] = defaultdict(list)
        for emit in outcome.emits:
            for edge_id, part in _parts(emit, edges_of, batch):
                emits[edge_id].append(part)
        if batch is not None:
            emits[batch.edge_id] += []
        self._write(
            [
                (edge_id, entry)
                for edge_id, edge_emits in emits.items()
                for entry in _entries(edge_emits, outcome.answers, batch, edge_id)
            ]
        )

    def postpone(self, batch: Batch, code: ErrorCode) -> None:
        """Tell the edge that the batch could not be handled now. Raises redis.RedisError."""
        self._write([(batch.edge_id, InboxEntry(batch_id=batch.id, retry=code))])

    def _write(self, entries: Sequence[tuple[str, InboxEntry]]) -> None:
        if len(entries) == 1:
            # A pipeline costs several times more than the one command that an edge with a small batch needs.
            self._add(self._redis, *entries[0])
        elif entries:
            pipe = self._redis.pipeline(transaction=True)
            for edge_id, entry in entries:
                self._add(pipe, edge_id, entry)
            pipe.execute()

    def _add(self, redis: Redis, edge_id: str, entry: InboxEntry) -> None:
        redis.xadd(
            names.inbox_key(edge_id),
            {names.INBOX_FIELD: msgspec.json.encode(entry)},
            maxlen=self._inbox_entries,
            approximate=True,
            nomkstream=True,
        )


def _parts(
    emit: Emit, edges_of: Mapping[str, Sequence[str]], batch: Batch | None
) -> Iterator[tuple[str, Emit]]:
    """Return what each edge needs of it."""
    targets: dict[str, list[Target]] = defaultdict(list)
    for target in emit.to:
        for edge_id in edges_of[target.user_id]:
            targets[edge_id].append(target)
    asked = batch.edge_id if batch is not None and emit.answers is not None else None
    if asked is not None:
        targets[asked] += []
    for edge_id, to in targets.items():
        if len(targets) == 1 and len(to) == len(emit.to):
            yield edge_id, emit
        else:
            yield edge_id, Emit(to, emit.data, emit.position, emit.answers if edge_id == asked else None)


def _entries(
    emits: Sequence[Emit], answers: Sequence[Answer], batch: Batch | None, edge_id: str
) -> Iterator[InboxEntry]:
    """Cut what one edge gets into entries of a bounded size; the first one of a batch closes it.

    So the edge can send the next batch while it carries out the rest; all entries are written together.
    """
    own = batch is not None and batch.edge_id == edge_id
    first, *others = _slices([*(answers if own else []), *emits])
    yield _entry(first, batch.id if own and batch else None)
    for part in others:
        yield _entry(part)


def _slices(parts: Sequence[Answer | Emit]) -> list[list[Answer | Emit]]:
    slices: list[list[Answer | Emit]] = [[]]
    size = 0
    for part in parts:
        if size > _ENTRY_BYTES:
            slices.append([])
            size = 0
        slices[-1].append(part)
        size += len(memoryview(part.data))
    return slices


def _entry(parts: Sequence[Answer | Emit], batch_id: str | None = None) -> InboxEntry:
    return InboxEntry(
        batch_id=batch_id,
        answers=[part for part in parts if isinstance(part, Answer)],
        emits=[part for part in parts if isinstance(part, Emit)],
    )
