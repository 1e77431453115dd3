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


class _Draft(NamedTuple):
    """A message that may be stored."""

    request: Request[SendMessage]
    recipient_id: UUID
    pair: Pair
    key: str
    """What makes it the same message when it is tried again."""


def send_messages(conn: Connection, requests: Sequence[Request[SendMessage]], rules: Rules) -> Outcome:
    """Store what is new, answer what was stored before with the first answer."""
    outcome = Outcome()
    people = read_people(
        conn, {request.user_id for request in requests}, {request.command.username for request in requests}
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
    fresh = {draft.key: draft for draft in reversed(drafts) if draft.key not in stored}
    stored |= _store(conn, list(reversed(fresh.values())), chats, people, rules)
    for draft in drafts:
        _answer(outcome, draft.request, stored[draft.key])
    return outcome


def _accept(
    requests: Sequence[Request[SendMessage]], people: People, rules: Rules, outcome: Outcome
) -> list[_Draft]:
    drafts = []
    for request in requests:
        command = request.command
        try:
            people.require(request.user_id)
            _check_text(command, rules)
            recipient_id = people.find(command.username)
        except Refused as refused:
            outcome.fail(request, refused.code, refused.message)
        else:
            key = _key(request.user_id, command.client_id or str(UUID(request.id)))
            drafts.append(_Draft(request, recipient_id, Pair.of(request.user_id, recipient_id), key))
    return drafts


def _key(sender_id: UUID, once: str) -> str:
    return f"{sender_id}/{once}"


def _check_text(command: SendMessage, rules: Rules) -> None:
    if not command.text.strip():
        raise Refused(ErrorCode.INVALID_PAYLOAD, "The text is empty.")
    if len(command.text) > rules.text_chars:
        raise Refused(ErrorCode.INVALID_PAYLOAD, f"The text is longer than {rules.text_chars} characters.")
    if "\0" in command.text or "\0" in (command.client_id or ""):
        raise Refused(ErrorCode.INVALID_PAYLOAD, "Text must not contain NUL characters.")


def _read_stored(conn: Connection, drafts: Sequence[_Draft]) -> dict[str, Message]:
    """Read, once the chats are locked, what an earlier try has stored; by key."""
    params = {
        "senders": [draft.request.user_id for draft in drafts],
        "keys": [draft.key.partition("/")[2] for draft in drafts],
    }
    return {
        _key(row.sender_id, row.client_id or str(row.id)): to_message(row)
        for row in conn.execute(_STORED, params)
    }


def _store(
    conn: Connection, drafts: Sequence[_Draft], chats: dict[Pair, Chat], people: People, rules: Rules
) -> dict[str, Message]:
    """Store the drafts, in their order within each chat; return the messages by key."""
    if not drafts:
        return {}
    by_pair: dict[Pair, list[_Draft]] = {}
    for draft in drafts:
        by_pair.setdefault(draft.pair, []).append(draft)
    lines = [(chats[pair], in_chat) for pair, in_chat in by_pair.items()]
    times = _advance(conn, lines, rules)
    rows: list[tuple[Message, _Draft, UUID, datetime]] = []
    for chat, in_chat in lines:
        time = times[chat.id]
        chat_id, created_at = str(chat.id), iso_ms(time)
        for seq, draft in enumerate(in_chat, chat.last_seq + 1):
            request = draft.request
            message = Message(
                id=str(UUID(request.id)),
                chat_id=chat_id,
                seq=seq,
                sender_id=str(request.user_id),
                sender_username=people.by_id[request.user_id],
                recipient_id=str(draft.recipient_id),
                recipient_username=people.by_id[draft.recipient_id],
                text=request.command.text,
                created_at=created_at,
                status="sent",
                client_id=request.command.client_id or msgspec.UNSET,
            )
            rows.append((message, draft, chat.id, time))
    conn.execute(
        _INSERT,
        {
            "chats": [chat_id for _, _, chat_id, _ in rows],
            "seqs": [message.seq for message, _, _, _ in rows],
            "ids": [message.id for message, _, _, _ in rows],
            "senders": [draft.request.user_id for _, draft, _, _ in rows],
            "recipients": [draft.recipient_id for _, draft, _, _ in rows],
            "texts": [message.text for message, _, _, _ in rows],
            "client_ids": [draft.request.command.client_id for _, draft, _, _ in rows],
            "times": [time for _, _, _, time in rows],
        },
    )
    return {draft.key: message for message, draft, _, _ in rows}


def _advance(
    conn: Connection, lines: Sequence[tuple[Chat, Sequence[_Draft]]], rules: Rules
) -> dict[UUID, datetime]:
    """Reserve the seqs of the locked chats; return the time of the new messages by chat."""
    params = {
        "chats": [chat.id for chat, _ in lines],
        "counts": [len(drafts) for _, drafts in lines],
        "sweep_after": rules.sweep_after_s,
    }
    return {row.id: row.activity_at for row in conn.execute(_ADVANCE, params)}


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
