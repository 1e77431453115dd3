"""Publishes outcomes to the inbox streams of the edges that hold the sockets."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final

import msgspec
from redis import Redis

from infra.wire import names
from infra.wire.batch import Batch
from infra.wire.clock import RedisClock
from infra.wire.errors import ErrorCode
from infra.wire.inbox import Answer, InboxEntry
from workers.requests import Outcome

_ENTRY_BYTES: Final = 64_000
"""Soft limit of one stream entry, so that no edge has to decode a huge one at once."""

_ENTRIES: Final = 100
"""Entries of answers that are written at once, so that no command gets too large for Redis."""
_FEW: Final = 50
"""Emits that may share the entry that closes a batch; others would hold up the next batch of the edge."""

_EMPTY: Final = msgspec.json.encode(InboxEntry())

_PUBLISH: Final = """
local heads, emits = unpack(cmsgpack.unpack(ARGV[1]))
local empty, few, entry_bytes, maxlen = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local live = {}
for _, edge in ipairs(redis.call('ZRANGE', KEYS[1], '(' .. now, '+inf', 'BYSCORE')) do live[edge] = true end
local edges_of = {}
for place = 2, #KEYS do edges_of[place - 1] = redis.call('SMEMBERS', KEYS[place]) end

local entries, last, given = {}, {}, {}
local function open(edge, line)
    last[edge] = {edge = edge, size = #line, lines = {line}}
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
    local line, places = emit[1], emit[2]
    for _, place in ipairs(places) do
        for _, edge in ipairs(edges_of[place]) do
            if live[edge] then give(edge, line, number) end
        end
    end
end

for _, entry in ipairs(entries) do
    redis.call('XADD', '{INBOX}' .. entry.edge, 'NOMKSTREAM', 'MAXLEN', '~', maxlen, '*', '{FIELD}',
        table.concat(entry.lines, '\\n'))
end
return time
""".replace("{INBOX}", names.inbox_key("")).replace("{FIELD}", names.INBOX_FIELD.decode())
"""Looks up who is where and adds to the streams: all edges get theirs, or none does.

An entry is an `InboxEntry` with its emits as lines. The first entries of an edge close its batches.
"""


class Publisher:
    """Writes the stream entries of an outcome, whatever the number of users and edges."""

    def __init__(self, redis: Redis, clock: RedisClock, inbox_entries: int) -> None:
        self._publish = redis.register_script(_PUBLISH)
        self._clock = clock
        self._inbox_entries = inbox_entries

    def publish(self, outcome: Outcome, batches: Sequence[Batch] = (), *, is_all: bool = True) -> None:
        """Send emits to where their users are, and answers to the edges that asked.

        If that is all that comes of the batches, it closes them.

        One round trip, unless the answers are very large. Raises redis.RedisError.
        """
        asked = {event.id: batch.edge_id for batch in batches for event in batch.events}
        places: dict[str, int] = {}
        emits = [
            (
                msgspec.json.encode(emit).decode(),
                [places.setdefault(target.user_id, len(places) + 1) for target in emit.to],
            )
            for emit in outcome.emits
        ]
        heads = list(_heads(outcome.answers, batches if is_all else (), asked))
        closing = [(edge_id, head) for edge_id, head in heads if head.batch_id is not None]
        more = [(edge_id, head) for edge_id, head in heads if head.batch_id is None]
        # Answers that fill many entries go ahead: what closes a batch comes with the last of its result.
        while len(more) > _ENTRIES:
            self._write(more[:_ENTRIES])
            more = more[_ENTRIES:]
        self._write([*closing, *more], emits, list(places))

    def postpone(self, batches: Sequence[Batch], code: ErrorCode) -> None:
        """Tell the edges that batches could not be handled now. Raises redis.RedisError."""
        self._write([(batch.edge_id, InboxEntry(batch.id, retry=code)) for batch in batches])

    def _write(
        self,
        heads: Sequence[tuple[str, InboxEntry]],
        emits: Sequence[tuple[str, list[int]]] = (),
        user_ids: Sequence[str] = (),
    ) -> None:
        if not heads and not emits:
            return
        plan = msgspec.msgpack.encode(
            ([(edge_id, msgspec.json.encode(head).decode()) for edge_id, head in heads], emits)
        )
        seconds, micros = self._publish(
            [names.LEASES_KEY, *map(names.user_edges_key, user_ids)],
            [plan, _EMPTY, _FEW, _ENTRY_BYTES, self._inbox_entries],
        )
        self._clock.note(int(seconds), int(micros))


def _heads(
    answers: Sequence[Answer], batches: Sequence[Batch], asked: Mapping[str, str]
) -> Iterator[tuple[str, InboxEntry]]:
    """Return the entries that close the batches and bring their answers, each of a bounded size."""
    by_edge: dict[str, list[Answer]] = {batch.edge_id: [] for batch in batches}
    for answer in answers:
        by_edge.setdefault(asked[answer.id], []).append(answer)
    for edge_id, edge_answers in by_edge.items():
        closes = [batch.id for batch in batches if batch.edge_id == edge_id]
        for batch_id, part in zip_longest(closes, _slices(edge_answers)):
            yield edge_id, InboxEntry(batch_id, answers=part or [])


def _slices(answers: Sequence[Answer]) -> list[list[Answer]]:
    slices: list[list[Answer]] = [[]]
    size = 0
    for answer in answers:
        if size > _ENTRY_BYTES:
            slices.append([])
            size = 0
        slices[-1].append(answer)
        size += len(memoryview(answer.data))
    return slices
