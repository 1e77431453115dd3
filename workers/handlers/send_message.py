"""`send_message`: stores messages, each once, with hole-free seqs; two statements for any number."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, text

from infra.store.profiles import username_key
from infra.wire.commands import SendMessage
from infra.wire.errors import ErrorCode
from infra.wire.events import MESSAGE_SENT, NEW_MESSAGE, Message, iso_ms
from infra.wire.inbox import Emit, Position, Target
from workers.arrays import array
from workers.chats import Pair, open_chats, read_people
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
_ROUTES = """
    SELECT
        asked.sender_id, asked.key AS recipient_key, s.username AS sender_username,
        r.id AS recipient_id, r.username AS recipient_username, c.id AS chat_id
    FROM unnest(CAST(:senders AS uuid[]), CAST(:keys AS text[])) AS asked (sender_id, key)
    JOIN profiles s ON s.id = asked.sender_id
    JOIN profiles r ON r.username_key = asked.key
    JOIN chats c ON c.user_lo = least(s.id, r.id) AND c.user_hi = greatest(s.id, r.id)
    ORDER BY c.id
    FOR NO KEY UPDATE OF c
"""
_LOCK_ROUTES = text(_ROUTES)
_TRY_LOCK_ROUTES = text(f"{_ROUTES} SKIP LOCKED")
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
    RETURNING id, seq, created_at
    """
)
"""Stores what is not there yet, under the next seqs of its locked chat, and has the sweep look after it.

Whatever the planner thinks of the size of the table, it is LATERAL that has it use the index.
"""


class _Route(NamedTuple):
    """From one user to another, through their chat, which is locked."""

    sender_username: str
    recipient_id: str
    recipient_username: str
    chat_id: str


class _Draft(NamedTuple):
    """A message that may be stored."""

    request: Request[SendMessage]
    route: _Route
    key: str
    """What makes it the same message when it is tried again."""


Ends = tuple[str, str]
"""Id of a sender, and key of the name that they write to."""


def send_messages(conn: Connection, requests: Sequence[Request[SendMessage]], rules: Rules) -> Outcome:
    """Store what is new, answer what was stored before with the first answer."""
    outcome = Outcome()
    accepted = _accept(requests, rules, outcome)
    routes = _lock_routes(conn, accepted, rules)
    strangers = [request for request in accepted if _ends(request) not in routes]
    if strangers:
        routes |= _open_routes(conn, strangers, rules, outcome)
    drafts = [
        _Draft(request, routes[ends], _key(request.user_id, request.command.client_id or request.id))
        for request in accepted
        if (ends := _ends(request)) in routes
    ]
    messages = _store(conn, drafts, rules)
    messages |= _read_stored(conn, [draft for draft in drafts if draft.key not in messages])
    for draft in drafts:
        _answer(outcome, draft.request, messages[draft.key])
    return outcome


def _accept(
    requests: Sequence[Request[SendMessage]], rules: Rules, outcome: Outcome
) -> list[Request[SendMessage]]:
    accepted = []
    for request in requests:
        try:
            _check_text(request.command, rules)
        except Refused as refused:
            outcome.fail(request, refused.code, refused.message)
        else:
            accepted.append(request)
    return accepted


def _check_text(command: SendMessage, rules: Rules) -> None:
    if not command.text.strip():
        raise Refused(ErrorCode.INVALID_PAYLOAD, "The text is empty.")
    if len(command.text) > rules.text_chars:
        raise Refused(ErrorCode.INVALID_PAYLOAD, f"The text is longer than {rules.text_chars} characters.")
    if "\0" in command.text or "\0" in (command.client_id or ""):
        raise Refused(ErrorCode.INVALID_PAYLOAD, "Text must not contain NUL characters.")


def _ends(request: Request[SendMessage]) -> Ends:
    return request.user_id, username_key(request.command.username)


def _key(sender_id: str, once: str) -> str:
    return f"{sender_id}/{once}"


def _lock_routes(
    conn: Connection, requests: Sequence[Request[SendMessage]], rules: Rules
) -> dict[Ends, _Route]:
    """Return the routes that are there already, as nearly all are."""
    asked = [ends for ends in {_ends(request) for request in requests} if "\0" not in ends[1]]
    if not asked:
        return {}
    params = {"senders": array(sender_id for sender_id, _ in asked), "keys": [key for _, key in asked]}
    return {
        (row.sender_id, row.recipient_key): _Route(
            row.sender_username, row.recipient_id, row.recipient_username, row.chat_id
        )
        for row in conn.execute(_LOCK_ROUTES if rules.patient else _TRY_LOCK_ROUTES, params)
    }


def _open_routes(
    conn: Connection, requests: Sequence[Request[SendMessage]], rules: Rules, outcome: Outcome
) -> dict[Ends, _Route]:
    """Make the chats that are missing, and refuse where there cannot be one."""
    people = read_people(
        conn, {request.user_id for request in requests}, {request.command.username for request in requests}
    )
    pairs: dict[Ends, Pair] = {}
    known = []
    for request in requests:
        try:
            people.require(request.user_id)
            recipient_id = people.find(request.command.username)
        except Refused as refused:
            outcome.fail(request, refused.code, refused.message)
        else:
            known.append((request, recipient_id))
            pairs[_ends(request)] = Pair.of(request.user_id, recipient_id)
    chats = open_chats(conn, set(pairs.values()), lock=True, patient=rules.patient)
    routes = {}
    for request, recipient_id in known:
        chat = chats.get(pairs[_ends(request)])
        if chat is None:
            outcome.fail(request, ErrorCode.UNAVAILABLE)
        else:
            names = people.by_id[request.user_id], people.by_id[recipient_id]
            routes[_ends(request)] = _Route(names[0], recipient_id, names[1], chat.id)
    return routes


def _store(conn: Connection, drafts: Sequence[_Draft], rules: Rules) -> dict[str, Message]:
    """Store what no earlier try has stored, each key once; return these messages by key."""
    if not drafts:
        return {}
    once: dict[str, _Draft] = {}
    for draft in drafts:
        once.setdefault(draft.key, draft)
    tried = {draft.request.id: draft for draft in once.values()}
    commands = [draft.request.command for draft in tried.values()]
    params = {
        "chats": array(draft.route.chat_id for draft in tried.values()),
        "ids": array(tried),
        "senders": array(draft.request.user_id for draft in tried.values()),
        "recipients": array(draft.route.recipient_id for draft in tried.values()),
        "texts": [command.text for command in commands],
        "client_ids": [command.client_id for command in commands],
        "sweep_after": rules.sweep_after_s,
    }
    rows = conn.execute(_STORE, params)
    return {(draft := tried[row.id]).key: _message(row, draft) for row in rows}


def _message(row: Row[Any], draft: _Draft) -> Message:
    request, route, _ = draft
    return Message(
        id=row.id,
        chat_id=route.chat_id,
        seq=row.seq,
        sender_id=request.user_id,
        sender_username=route.sender_username,
        recipient_id=route.recipient_id,
        recipient_username=route.recipient_username,
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
        "senders": array(draft.request.user_id for draft in drafts),
        "keys": [draft.request.command.client_id or draft.request.id for draft in drafts],
    }
    return {
        _key(row.sender_id, row.client_id or row.id): to_message(row) for row in conn.execute(_STORED, params)
    }


def _answer(outcome: Outcome, request: Request[SendMessage], message: Message) -> None:
    rendered = msgspec.Raw(msgspec.json.encode(msgspec.structs.replace(message, status="sent")))
    to_self = message.sender_id == message.recipient_id
    targets = [Target(message.sender_id, MESSAGE_SENT)]
    if message.status == "sent" and not to_self:
        targets.append(Target(message.recipient_id, NEW_MESSAGE, ack=True))
    # The sockets of who writes to themself get both events, and each of them once.
    position = Position(f"{message.chat_id}/sent" if to_self else message.chat_id, message.seq)
    outcome.emits.append(Emit(targets, rendered, position, answers=request.id))
    if message.status == "sent" and to_self:
        outcome.emits += deliveries([message])
