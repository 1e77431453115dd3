"""Publishes outcomes to the inbox streams of the edges that hold the sockets."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from time import monotonic
from types import MappingProxyType
from typing import Final

import msgspec
from redis import Redis

from infra.presence import LIVE_EDGES
from infra.wire import names
from infra.wire.batch import Batch
from infra.wire.clock import RedisClock
from infra.wire.errors import ErrorCode
from infra.wire.inbox import Answer, Emit, InboxEntry
from workers import metrics
from workers.outcome import Outcome

_ENTRY_BYTES: Final = 64_000
"""Soft limit of one stream entry, so that an edge never decodes a huge one at once."""

_ENTRIES: Final = 100
"""Entries of answers that are written at once, so that no command gets too large for Redis."""
_EMITS: Final = 2_000
"""Emits that are routed at once, so that one command does not hold up Redis for everybody else."""
_FEW: Final = 50
"""Most emits that share the entry that closes a batch; more would delay the next batch of the edge."""

_INBOX_ENTRIES: Final = 10_000
"""About how many entries a stream keeps. If an edge falls further behind, its sockets catch up."""

_EMPTY: Final = msgspec.json.encode(InboxEntry())

_PUBLISH: Final = f"""{LIVE_EDGES}
local heads, emits = unpack(cmsgpack.unpack(ARGV[1]))
local empty, few, entry_bytes = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local maxlen, inbox = ARGV[5], ARGV[6]
local edges_of = {{}}
for place = 2, #KEYS do edges_of[place - 1] = redis.call('SMEMBERS', KEYS[place]) end

local entries, last, given = {{}}, {{}}, {{}}
local function open(edge, line)
    last[edge] = {{edge = edge, size = #line, lines = {{line}}}}
    entries[#entries + 1] = last[edge]
end
local function give(edge, line, number)
    if given[edge] == number then return end
    given[edge] = number
    if not last[edge] or last[edge].size > entry_bytes then open(edge, empty) end
    local entry = last[edge]
    entry.size = entry.size + #line
    entry.lines[#entry.lines + 1] = line
end

for _, head in ipairs(heads) do
    open(head[1], head[2])
    if #emits > few then last[head[1]].size = entry_bytes + 1 end
end
for number, emit in ipairs(emits) do
    local line, places, asking = emit[1], emit[2], emit[3]
    for _, edge in ipairs(asking) do give(edge, line, number) end
    for _, place in ipairs(places) do
        for _, edge in ipairs(edges_of[place]) do
            if live[edge] then give(edge, line, number) end
        end
    end
end

for _, entry in ipairs(entries) do
    redis.call('XADD', inbox .. entry.edge, 'NOMKSTREAM', 'MAXLEN', '~', maxlen, '*',
        '{names.INBOX_FIELD.decode()}', table.concat(entry.lines, '\\n'))
end
return time
"""
"""Looks up which edges hold the users and adds to their streams: all edges get their entries, or none does.

An entry is an `InboxEntry` with its emits as lines. The first entries of an edge close its batches.
"""


class Publisher:
    """Writes the stream entries of outcomes."""

    def __init__(self, redis: Redis, clock: RedisClock, prefix: str = "") -> None:
        self._publish = redis.register_script(_PUBLISH)
        self.clock = clock
        """Told the time by Redis with each publication."""
        self._prefix = prefix
        self._inbox = prefix + names.inbox_key("")

    def publish(self, outcome: Outcome, batches: Sequence[Batch] = (), closed: Sequence[Batch] = ()) -> None:
        """Send emits to the edges of their users, answers to the edges of the batches, and close batches.

        `closed`: those of the batches for which nothing more follows. Takes one round trip, however many
        users and edges there are, unless there are very many emits or answers. Raises redis.RedisError.
        """
        asking = _edges_by_user(batches)
        emits = outcome.emits
        while len(emits) > _EMITS:
            self._write((), emits[:_EMITS], asking)
            emits = emits[_EMITS:]
        heads = list(_heads(outcome.answers, batches, closed))
        closing = [(edge_id, head) for edge_id, head in heads if head.batch_id is not None]
        more = [(edge_id, head) for edge_id, head in heads if head.batch_id is None]
        # Very many answers are written first: a batch is closed together with its last answers.
        while len(more) > _ENTRIES:
            self._write(more[:_ENTRIES])
            more = more[_ENTRIES:]
        self._write([*closing, *more], emits, asking)

    def postpone(self, batches: Sequence[Batch], code: ErrorCode) -> None:
        """Tell the edges that batches could not be processed now. Raises redis.RedisError."""
        self._write([(batch.edge_id, InboxEntry(batch.id, retry=code)) for batch in batches])

    def _write(
        self,
        heads: Sequence[tuple[str, InboxEntry]],
        emits: Sequence[Emit] = (),
        asking: Mapping[str, Collection[str]] = MappingProxyType({}),
    ) -> None:
        if not heads and not emits:
            return
        places: dict[str, int] = {}
        routed = [
            (
                _line(emit),
                [places.setdefault(target.user_id, len(places) + 1) for target in emit.to],
                [edge for target in emit.to for edge in asking.get(target.user_id, ())],
            )
            for emit in emits
        ]
        plan = msgspec.msgpack.encode(([(edge_id, _line(head)) for edge_id, head in heads], routed))
        began = monotonic()
        keys = (names.LEASES_KEY, *map(names.user_edges_key, places))
        seconds, micros = self._publish(
            [self._prefix + key for key in keys],
            [plan, _EMPTY, _FEW, _ENTRY_BYTES, _INBOX_ENTRIES, self._inbox],
        )
        self.clock.note(int(seconds), int(micros))
        metrics.PUBLISH_SECONDS.observe(monotonic() - began)
        metrics.PUBLICATIONS.counts[()] += len(emits)


def _edges_by_user(batches: Sequence[Batch]) -> dict[str, set[str]]:
    """Return the edges on which users asked for something.

    These hold a socket of the user, even if the registry does not say so yet.
    """
    edges: dict[str, set[str]] = {}
    for batch in batches:
        for event in batch.events:
            edges.setdefault(event.user_id, set()).add(batch.edge_id)
    return edges


def _heads(
    answers: Sequence[Answer], batches: Sequence[Batch], closed: Sequence[Batch]
) -> Iterator[tuple[str, InboxEntry]]:
    """Yield, by edge, the entries that hold the answers and close batches."""
    asked = {event.id: batch.edge_id for batch in batches for event in batch.events}
    closes: dict[str, list[str]] = {}
    by_edge: dict[str, list[Answer]] = {}
    for batch in closed:
        closes.setdefault(batch.edge_id, []).append(batch.id)
        by_edge.setdefault(batch.edge_id, [])
    for answer in answers:
        by_edge.setdefault(asked[answer.id], []).append(answer)
    for edge_id, edge_answers in by_edge.items():
        for batch_id, part in zip_longest(closes.get(edge_id, ()), _slices(edge_answers)):
            yield edge_id, InboxEntry(batch_id, answers=part or [])


def _slices(answers: Sequence[Answer]) -> list[list[Answer]]:
    """Cut the answers so that each slice fits into an entry."""
    slices: list[list[Answer]] = [[]]
    size = 0
    for answer in answers:
        if size > _ENTRY_BYTES:
            slices.append([])
            size = 0
        slices[-1].append(answer)
        size += len(memoryview(answer.data))
    return slices


def _line(value: Emit | InboxEntry) -> str:
    """Encode without line breaks. An app may have put some between the tokens of its `data`."""
    return msgspec.json.encode(value).replace(b"\n", b" ").decode()
