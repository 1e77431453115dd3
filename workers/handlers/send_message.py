"""`send_message`: stores messages, each once, with hole-free seqs; five statements for any number."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from infra.wire.commands import SendMessage
from infra.wire.errors import ErrorCode
from infra.wire.events import MESSAGE_SENT, Message, SendAck, iso_ms
from infra.wire.inbox import Answer, Emit, Position
from workers.chats import Chat, Pair, People, open_chats, read_people
from workers.errors import Refused
from workers.messages import COLUMNS, JOINS, deliveries, to_message
from workers.requests import Outcome, Request
from workers.rules import Rules

_STORED = text(
    f"""
    SELECT {COLUMNS}
    FROM unnest(CAST(:senders AS uuid[]), CAST(:keys AS text[])) AS tried (sender_id, key)
    JOIN messages m ON m.sender_id = tried.sender_id AND coalesce(m.client_id, m.id::text) = tried.key
    {JOINS}
    """
)
_ADVANCE = text(
    """
    UPDATE chats c
    SET last_seq = c.last_seq + added.count,
        activity_at = greatest(clock_timestamp(), c.activity_at),
        sweep_at = coalesce(c.sweep_at, now() + make_interval(secs => :sweep_after))
    FROM unnest(CAST(:chats AS uuid[]), CAST(:counts AS bigint[])) AS added (chat_id, count)
    WHERE c.id = added.chat_id
    RETURNING c.id, c.activity_at
    """
)
"""Reserves seqs, and has the sweep look after the deliveries of the new messages."""

_INSERT = text(
    """
    INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at)
    SELECT * FROM unnest(
        CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]), CAST(:senders AS uuid[]),
        CAST(:recipients AS uuid[]), CAST(:texts AS text[]), CAST(:client_ids AS text[]),
        CAST(:times AS timestamptz[])
    )
    """
)


class _Key(NamedTuple):
    """What makes a message the same one when it is tried again."""

    sender_id: UUID
    key: str

    @classmethod
    def of(cls, request: Request[SendMessage]) -> "_Key":
        return cls(request.user_id, request.command.client_id or str(UUID(request.id)))


class _Draft(NamedTuple):
    request: Request[SendMessage]
    recipient_id: UUID
    pair: Pair


def send_messages(conn: Connection, requests: Sequence[Request[SendMessage]], rules: Rules) -> Outcome:
    """Store what is new, answer what was stored before with the first answer."""
    outcome = Outcome()
    people = read_people(
        conn, (request.user_id for request in requests), (request.command.username for request in requests)
    )
    drafts = _accept(requests, people, rules, outcome)
    if not drafts:
        return outcome
    chats = open_chats(conn, {draft.pair for draft in drafts}, lock=True, patient=rules.patient)
    for draft in drafts:
        if draft.pair not in chats:
            outcome.fail(draft.request, ErrorCode.UNAVAILABLE)
    drafts = [draft for draft in drafts if draft.pair in chats]
    stored = _read_stored(conn, drafts)
    fresh = {_Key.of(draft.request): draft for draft in reversed(drafts)}
    new = [draft for draft in drafts if fresh[_Key.of(draft.request)] is draft]
    stored |= _store(conn, [d for d in new if _Key.of(d.request) not in stored], chats, people, rules)
    for draft in drafts:
        _answer(outcome, draft.request, stored[_Key.of(draft.request)])
    return outcome


def _accept(
    requests: Sequence[Request[SendMessage]], people: People, rules: Rules, outcome: Outcome
) -> list[_Draft]:
    drafts = []
    for request in requests:
        try:
            people.require(request.user_id)
            _check_text(request.command, rules)
            recipient_id = people.find(request.command.username)
        except Refused as refused:
            outcome.fail(request, refused.code, refused.message)
        else:
            drafts.append(_Draft(request, recipient_id, Pair.of(request.user_id, recipient_id)))
    return drafts


def _check_text(command: SendMessage, rules: Rules) -> None:
    if not command.text.strip():
        raise Refused(ErrorCode.INVALID_PAYLOAD, "The text is empty.")
    if len(command.text) > rules.text_chars:
        raise Refused(ErrorCode.INVALID_PAYLOAD, f"The text is longer than {rules.text_chars} characters.")
    if "\0" in command.text or "\0" in (command.client_id or ""):
        raise Refused(ErrorCode.INVALID_PAYLOAD, "Text must not contain NUL characters.")


def _read_stored(conn: Connection, drafts: Sequence[_Draft]) -> dict[_Key, Message]:
    """Read, once the chats are locked, what an earlier try has stored."""
    keys = sorted({_Key.of(draft.request) for draft in drafts})
    params = {"senders": [key.sender_id for key in keys], "keys": [key.key for key in keys]}
    return {
        _Key(row.sender_id, row.client_id or str(row.id)): to_message(row)
        for row in conn.execute(_STORED, params)
    }


def _store(
    conn: Connection, drafts: Sequence[_Draft], chats: dict[Pair, Chat], people: People, rules: Rules
) -> dict[_Key, Message]:
    if not drafts:
        return {}
    times = _advance(conn, drafts, chats, rules)
    last_seq = {chat.id: chat.last_seq for chat in chats.values()}
    messages: dict[_Key, Message] = {}
    for request, recipient_id, pair in drafts:
        chat_id = chats[pair].id
        last_seq[chat_id] += 1
        messages[_Key.of(request)] = Message(
            id=str(UUID(request.id)),
            chat_id=str(chat_id),
            seq=last_seq[chat_id],
            sender_id=str(request.user_id),
            sender_username=people.by_id[request.user_id],
            recipient_id=str(recipient_id),
            recipient_username=people.by_id[recipient_id],
            text=request.command.text,
            created_at=iso_ms(times[chat_id]),
            status="sent",
            client_id=request.command.client_id or msgspec.UNSET,
        )
    stored = list(messages.values())
    chat_ids = [chats[draft.pair].id for draft in drafts]
    conn.execute(
        _INSERT,
        {
            "chats": chat_ids,
            "seqs": [message.seq for message in stored],
            "ids": [UUID(draft.request.id) for draft in drafts],
            "senders": [draft.request.user_id for draft in drafts],
            "recipients": [draft.recipient_id for draft in drafts],
            "texts": [message.text for message in stored],
            "client_ids": [draft.request.command.client_id for draft in drafts],
            "times": [times[chat_id] for chat_id in chat_ids],
        },
    )
    return messages


def _advance(
    conn: Connection, drafts: Sequence[_Draft], chats: dict[Pair, Chat], rules: Rules
) -> dict[UUID, datetime]:
    """Reserve the seqs of the locked chats; return the time of the new messages by chat."""
    counts: dict[UUID, int] = {}
    for draft in drafts:
        chat_id = chats[draft.pair].id
        counts[chat_id] = counts.get(chat_id, 0) + 1
    params = {"chats": list(counts), "counts": list(counts.values()), "sweep_after": rules.sweep_after_s}
    rows = conn.execute(_ADVANCE, params)
    return {row.id: row.activity_at for row in rows}


def _answer(outcome: Outcome, request: Request[SendMessage], message: Message) -> None:
    first = msgspec.structs.replace(message, status="sent")
    rendered = msgspec.Raw(msgspec.json.encode(first))
    ack = msgspec.json.encode(SendAck(message=rendered))
    outcome.answers.append(Answer(request.id, msgspec.Raw(ack)))
    outcome.emits.append(Emit(message.sender_id, MESSAGE_SENT, rendered, _sent_position(message)))
    if message.status == "sent":
        outcome.emits += deliveries([message])


def _sent_position(message: Message) -> Position:
    """Tell the two events of a note to self apart: its sockets get both, and each once."""
    to_self = message.sender_id == message.recipient_id
    return Position(f"{message.chat_id}/sent" if to_self else message.chat_id, message.seq)
