"""`send_message`: stores messages, each once, with hole-free seqs; three statements for any number."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, text

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
_STORE = text(
    """
    WITH fresh AS (
        SELECT tried.*, row_number() OVER (PARTITION BY tried.chat_id ORDER BY tried.place) AS number
        FROM unnest(
            CAST(:chats AS uuid[]), CAST(:ids AS uuid[]), CAST(:senders AS uuid[]),
            CAST(:recipients AS uuid[]), CAST(:texts AS text[]), CAST(:client_ids AS text[])
        ) WITH ORDINALITY AS tried (chat_id, id, sender_id, recipient_id, text, client_id, place)
        LEFT JOIN LATERAL (
            SELECT m.id FROM messages m
            WHERE m.sender_id = tried.sender_id
                AND coalesce(m.client_id, m.id::text) = coalesce(tried.client_id, tried.id::text)
            LIMIT 1
        ) stored ON true
        WHERE stored.id IS NULL
    ), advanced AS (
        UPDATE chats c
        SET last_seq = c.last_seq + added.count,
            activity_at = greatest(clock_timestamp(), c.activity_at),
            sweep_at = coalesce(c.sweep_at, now() + make_interval(secs => :sweep_after))
        FROM (SELECT chat_id, count(*) FROM fresh GROUP BY chat_id) added
        WHERE c.id = added.chat_id
        RETURNING c.id, c.last_seq - added.count AS last_seq, c.activity_at
    )
    INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at)
    SELECT
        f.chat_id, a.last_seq + f.number, f.id, f.sender_id, f.recipient_id, f.text, f.client_id,
        a.activity_at
    FROM fresh f JOIN advanced a ON a.id = f.chat_id
    RETURNING id::text, seq, created_at
    """
)
"""Stores what is not there yet, under the next seqs of its locked chat, and has the sweep look after it.

Whatever the planner thinks of the size of the table, it is LATERAL that has it use the index.
"""


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
    messages = _store(conn, drafts, chats, people, rules)
    messages |= _read_stored(conn, [draft for draft in drafts if draft.key not in messages])
    for draft in drafts:
        _answer(outcome, draft.request, messages[draft.key])
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


def _store(
    conn: Connection, drafts: Sequence[_Draft], chats: dict[Pair, Chat], people: People, rules: Rules
) -> dict[str, Message]:
    """Store what no earlier try has stored, each key once; return these messages by key."""
    if not drafts:
        return {}
    once: dict[str, _Draft] = {}
    for draft in drafts:
        once.setdefault(draft.key, draft)
    tried = {str(UUID(draft.request.id)): draft for draft in once.values()}
    requests = [draft.request for draft in tried.values()]
    params = {
        "chats": [chats[draft.pair].id for draft in tried.values()],
        "ids": list(tried),
        "senders": [request.user_id for request in requests],
        "recipients": [draft.recipient_id for draft in tried.values()],
        "texts": [request.command.text for request in requests],
        "client_ids": [request.command.client_id for request in requests],
        "sweep_after": rules.sweep_after_s,
    }
    return {
        tried[row.id].key: _message(row, tried[row.id], chats, people) for row in conn.execute(_STORE, params)
    }


def _message(row: Row[Any], draft: _Draft, chats: dict[Pair, Chat], people: People) -> Message:
    request = draft.request
    return Message(
        id=row.id,
        chat_id=str(chats[draft.pair].id),
        seq=row.seq,
        sender_id=str(request.user_id),
        sender_username=people.by_id[request.user_id],
        recipient_id=str(draft.recipient_id),
        recipient_username=people.by_id[draft.recipient_id],
        text=request.command.text,
        created_at=iso_ms(row.created_at),
        status="sent",
        client_id=request.command.client_id or msgspec.UNSET,
    )


def _read_stored(conn: Connection, drafts: Sequence[_Draft]) -> dict[str, Message]:
    """Read what an earlier try has stored; by key."""
    if not drafts:
        return {}
    params = {
        "senders": [draft.request.user_id for draft in drafts],
        "keys": [draft.key.partition("/")[2] for draft in drafts],
    }
    return {
        _key(row.sender_id, row.client_id or str(row.id)): to_message(row)
        for row in conn.execute(_STORED, params)
    }


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
