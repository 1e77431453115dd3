"""Changes stored messages: each takes the next `change` of its chat and leaves the whole new state."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from infra.store import outbox
from infra.store.boxes import IS_BLOCKED, UNDECIDED, Box
from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import MESSAGE_CHANGED, ChangeAck, Message
from infra.wire.inbox import Emit, Target
from infra.wire.webhooks import MESSAGE_CHANGED as CHANGED
from workers.arrays import array
from workers.chats import Chat, read_chats, require_member
from workers.context import HandlerContext
from workers.locking import LockingStatement
from workers.messages import read_messages
from workers.outcome import Outcome
from workers.refusals import LastingRejection, remember
from workers.requests import Request

EDITS_KEPT: Final = 20
"""How many ids of edits a message remembers, and as many of reactions."""
REACTION: Final = "reaction "
"""Begins the id of a reaction among those of edits."""

_UNACCEPTED: Final = f"""
    CASE
        WHEN c.{{side}}_box IN ({Box.REQUESTS}, {Box.DECLINED}) OR c.{{side}}_box IN {UNDECIDED}
            AND (SELECT messages_from FROM profiles WHERE id = c.user_{{side}}) <> 'everyone'
        THEN c.user_{{other}}::text
    END
"""
"""SQL: the other member, if they wait to be accepted, or would have to ask if they wrote."""
_LOCK = LockingStatement(
    """
    SELECT c.id, c.change, now() AS at, {is_blocked} AS is_blocked, c.refused::text[] AS refused,
        array_remove(ARRAY[{not_by_hi}, {not_by_lo}], NULL) AS unaccepted
    FROM chats c
    WHERE c.id = ANY(CAST(:chats AS uuid[]))
    ORDER BY c.id
    FOR NO KEY UPDATE {skip_locked}
    """.replace("{is_blocked}", IS_BLOCKED.format(chat="c"))
    .replace("{not_by_hi}", _UNACCEPTED.format(side="lo", other="hi"))
    .replace("{not_by_lo}", _UNACCEPTED.format(side="hi", other="lo"))
)
_READ = text(
    """
    SELECT
        m.chat_id, m.seq, m.sender_id, m.text, m.data, m.created_at, m.edited_at, m.deleted_at, m.reactions,
        m.kind IS NOT NULL AS is_system,
        coalesce(changed.client_ids, '{}') AS client_ids, hiding.user_ids AS hidden_from
    FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])) AS wanted (chat_id, seq)
    JOIN messages m ON m.chat_id = wanted.chat_id AND m.seq = wanted.seq
    LEFT JOIN changed_messages changed ON changed.chat_id = m.chat_id AND changed.seq = m.seq
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(user_id::text), '{}') AS user_ids
        FROM chat_members WHERE chat_id = m.chat_id AND cleared_seq >= m.seq
    ) hiding
    """
)
_WRITE = text(
    """
    WITH changed AS MATERIALIZED (
        SELECT *
        FROM unnest(
            CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]), CAST(:changes AS bigint[]),
            CAST(:texts AS text[]), CAST(:data AS text[]), CAST(:edited AS timestamptz[]),
            CAST(:deleted AS timestamptz[]), CAST(:reactions AS jsonb[]), CAST(:client_ids AS jsonb[])
        ) AS changed (
            chat_id, seq, change, text, data, edited_at, deleted_at, reactions, client_ids
        )
    ), counted AS (
        UPDATE chats c SET change = newest.change, lo_changed_at = now(), hi_changed_at = now()
        FROM (SELECT chat_id, max(change) AS change FROM changed GROUP BY chat_id) newest
        WHERE c.id = newest.chat_id
    ), noted AS (
        INSERT INTO changed_messages (chat_id, seq, change, changed_at, client_ids)
        SELECT chat_id, seq, change, now(), ARRAY(SELECT jsonb_array_elements_text(client_ids))
        FROM changed
        ON CONFLICT (chat_id, seq) DO UPDATE
        SET change = excluded.change, changed_at = excluded.changed_at, client_ids = excluded.client_ids
    )
    UPDATE messages m
    SET change = changed.change, text = changed.text, data = changed.data, edited_at = changed.edited_at,
        deleted_at = changed.deleted_at, reactions = changed.reactions
    FROM changed
    WHERE m.chat_id = changed.chat_id AND m.seq = changed.seq
    """
)


@dataclass(slots=True)
class MutableMessage:
    """A stored message, as a change finds it and leaves it."""

    sender_id: str
    text: str
    data: str | None
    created_at: datetime
    edited_at: datetime | None
    deleted_at: datetime | None
    reactions: list[list[str]]
    """Pairs of an emoji and the id of a user."""
    client_ids: list[str]
    """Of its last edits and reactions."""
    hidden_from: list[str]
    """Who has cleared it."""
    is_blocked: bool
    """Whether one of the two has blocked the other."""
    unaccepted: list[str]
    """The users whom the other one has not accepted, and who could not simply write to them."""
    is_system: bool
    """Whether the app has said it, and not its sender."""
    now: datetime
    """The time of the change."""
    is_changed: bool = False

    def require_own(self, user_id: str) -> None:
        """Raise Rejection(not_allowed) if somebody else has written it."""
        if self.sender_id != user_id or self.is_system:
            raise Rejection(ErrorCode.NOT_ALLOWED, "Only its sender can change a message.")

    def require_within(self, seconds: int) -> None:
        """Raise Rejection(not_allowed, too_late) unless it is younger than this; 0 forbids the change."""
        if not seconds:
            raise Rejection(ErrorCode.NOT_ALLOWED, "This server does not allow this change.")
        if (self.now - self.created_at).total_seconds() > seconds:
            raise Rejection(ErrorCode.TOO_LATE)

    def require_not_unsent(self) -> None:
        """Raise Rejection(not_allowed) if its sender has taken it back."""
        if self.deleted_at is not None:
            raise Rejection(ErrorCode.NOT_ALLOWED, "The message has been unsent.")

    def require_welcome(self, user_id: str) -> None:
        """Raise Rejection(not_allowed) if there is a block, or the user was not accepted.

        Otherwise the few messages of a request could say anything, again and again.
        """
        if self.is_blocked or user_id in self.unaccepted:
            raise LastingRejection(ErrorCode.NOT_ALLOWED)

    def remember(self, key: str) -> None:
        """Remember an edit or a reaction, so that it changes nothing if it comes again, even after others."""
        is_reaction = key.startswith(REACTION)
        same = [one for one in self.client_ids if one.startswith(REACTION) is is_reaction]
        oldest = same[: 1 - EDITS_KEPT]
        self.client_ids = [*(one for one in self.client_ids if one not in oldest), key]


class OnMessage(Protocol):
    """A command about one message."""

    @property
    def chat_id(self) -> UUID:
        """Id of its chat."""

    @property
    def seq(self) -> int:
        """Its seq."""


CommandT = TypeVar("CommandT", bound=OnMessage)
Position = tuple[str, int]
"""Chat and seq."""


def change_messages(
    conn: Connection,
    requests: Sequence[Request[CommandT]],
    context: HandlerContext,
    change: Callable[[MutableMessage, Request[CommandT]], None],
    *,
    by_members: bool = True,
) -> Outcome:
    """Have `change` change the message of each request, in their order; tell both users what it is now.

    Unless it is `by_members`, whoever asks may change any message.
    `change` sets `is_changed` if anything is different. It may raise Rejection, before it changes anything.
    A retry changes nothing, but tells everybody again: what the first try published may be lost.
    """
    outcome = Outcome()
    chats = read_chats(conn, {str(request.command.chat_id) for request in requests})
    allowed = []
    for request in requests:
        with outcome.rejections(request):
            if by_members:
                require_member(chats, str(request.command.chat_id), request.user_id)
            elif str(request.command.chat_id) not in chats:
                raise Rejection(ErrorCode.CHAT_NOT_FOUND)
            allowed.append(request)
    if not allowed:
        return outcome
    locked = {
        row.id: row
        for row in conn.execute(
            _LOCK.for_(context), {"chats": array({str(request.command.chat_id) for request in allowed})}
        )
    }
    messages = _read(
        conn, [_position(request) for request in allowed if _position(request)[0] in locked], locked
    )
    done = []
    refused = {}
    for request in allowed:
        chat_id, _ = position = _position(request)
        with outcome.rejections(request):
            if chat_id not in locked:
                raise Rejection(ErrorCode.UNAVAILABLE)
            message = messages.get(position)
            if message is None or request.user_id in message.hidden_from:
                raise Rejection(ErrorCode.MESSAGE_NOT_FOUND)
            if request.id in (locked[chat_id].refused or ()):
                raise Rejection(ErrorCode.NOT_ALLOWED)
            try:
                change(message, request)
            except LastingRejection:
                refused[request.id] = chat_id
                raise
            done.append(request)
    remember(conn, refused, context)
    _write(conn, messages, {chat_id: row.change for chat_id, row in locked.items()})
    stored = read_messages(conn, {_position(request) for request in done})
    _tell(done, chats, messages, stored, outcome)
    _note(conn, messages, stored, context)
    return outcome


def _position(request: Request[CommandT]) -> Position:
    return str(request.command.chat_id), request.command.seq


def _read(
    conn: Connection, positions: Sequence[Position], locked: Mapping[str, Any]
) -> dict[Position, MutableMessage]:
    wanted = dict.fromkeys(positions)
    params = {
        "chats": array(chat_id for chat_id, _ in wanted),
        "seqs": array(seq for _, seq in wanted),
    }
    found = {
        (row.chat_id, row.seq): MutableMessage(
            sender_id=row.sender_id,
            text=row.text,
            data=row.data,
            created_at=row.created_at,
            edited_at=row.edited_at,
            deleted_at=row.deleted_at,
            reactions=row.reactions or [],
            client_ids=row.client_ids,
            hidden_from=row.hidden_from,
            is_blocked=locked[row.chat_id].is_blocked,
            unaccepted=locked[row.chat_id].unaccepted,
            is_system=row.is_system,
            now=locked[row.chat_id].at,
        )
        for row in conn.execute(_READ, params)
    }
    return {position: found[position] for position in wanted if position in found}


def _write(
    conn: Connection, messages: Mapping[Position, MutableMessage], last_changes: Mapping[str, int]
) -> None:
    """Store the messages that have changed, in their order, each under the next change of its chat."""
    changed = [(position, message) for position, message in messages.items() if message.is_changed]
    if not changed:
        return
    counts: dict[str, int] = defaultdict(int, last_changes)
    changes = []
    for (chat_id, _), _ in changed:
        counts[chat_id] += 1
        changes.append(counts[chat_id])
    conn.execute(
        _WRITE,
        {
            "chats": array(chat_id for (chat_id, _), _ in changed),
            "seqs": array(seq for (_, seq), _ in changed),
            "changes": array(changes),
            "texts": [message.text for _, message in changed],
            "data": [message.data for _, message in changed],
            "edited": [message.edited_at for _, message in changed],
            "deleted": [message.deleted_at for _, message in changed],
            "reactions": [_json(message.reactions) if message.reactions else None for _, message in changed],
            "client_ids": [_json(message.client_ids) for _, message in changed],
        },
    )


def _json(value: list[Any]) -> str:
    return msgspec.json.encode(value).decode()


def _tell(
    done: Sequence[Request[CommandT]],
    chats: Mapping[str, Chat],
    messages: Mapping[Position, MutableMessage],
    stored: Mapping[Position, Message],
    outcome: Outcome,
) -> None:
    """Answer with the messages as they are now, and emit each once, oldest change first, to both users.

    One that nobody has ever changed is not emitted: no publication of it can be lost.
    """
    for request in done:
        outcome.succeed(request, ChangeAck(message=stored[_position(request)]))
    changed = {position: one for position, one in stored.items() if _change_of(one)}
    for position, message in sorted(changed.items(), key=lambda item: _change_of(item[1])):
        hidden_from = messages[position].hidden_from
        targets = [
            Target(user_id, MESSAGE_CHANGED)
            for user_id in sorted(set(chats[position[0]].pair))
            if user_id not in hidden_from
        ]
        outcome.emits.append(Emit(targets, msgspec.Raw(msgspec.json.encode(message))))


def _note(
    conn: Connection,
    messages: Mapping[Position, MutableMessage],
    stored: Mapping[Position, Message],
    context: HandlerContext,
) -> None:
    """Have the app's backend hear of each message that is different now, oldest change first."""
    if CHANGED not in context.webhooks:
        return
    changed = [stored[position] for position, message in messages.items() if message.is_changed]
    facts = [
        outbox.Fact(CHANGED, f"{one.id}/{one.change}", one.chat_id, msgspec.json.encode(one).decode())
        for one in sorted(changed, key=_change_of)
    ]
    outbox.add(conn, facts, context.webhooks)


def _change_of(message: Message) -> int:
    return 0 if isinstance(message.change, msgspec.UnsetType) else message.change
