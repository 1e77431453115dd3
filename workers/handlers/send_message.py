"""`send_message`: stores messages, each once, with hole-free seqs; one statement for any number."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, text

from infra.store.profiles import username_key
from infra.wire.commands import SendMessage
from infra.wire.errors import ErrorCode
from infra.wire.events import MESSAGE_SENT, NEW_MESSAGE, Message, iso_ms, send_ack
from infra.wire.inbox import Answer, Emit, Position, Target
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
_SEND = """
    WITH routed AS MATERIALIZED (
        SELECT
            tried.*, s.username AS sender_username, r.id AS recipient_id, r.username AS recipient_username,
            c.id AS chat_id, c.last_seq, greatest(now(), c.activity_at) AS created_at
        FROM unnest(
            CAST(:senders AS uuid[]), CAST(:keys AS text[]), CAST(:ids AS uuid[]), CAST(:texts AS text[]),
            CAST(:client_ids AS text[]), CAST(:sames AS int[])
        ) WITH ORDINALITY AS tried (sender_id, key, id, text, client_id, same, place)
        JOIN profiles s ON s.id = tried.sender_id
        JOIN profiles r ON r.username_key = tried.key
        JOIN chats c ON c.user_lo = least(s.id, r.id) AND c.user_hi = greatest(s.id, r.id)
        ORDER BY c.id
        FOR NO KEY UPDATE OF c {wait}
    ), draft AS MATERIALIZED (
        SELECT
            routed.*, stored.id IS NULL AS is_new, last_seq + count(*) FILTER (WHERE stored.id IS NULL)
                OVER (PARTITION BY chat_id ORDER BY place) AS seq
        FROM {routed}
        LEFT JOIN LATERAL (
            SELECT m.id FROM messages m
            WHERE m.sender_id = routed.sender_id
                AND coalesce(m.client_id, m.id::text) = coalesce(routed.client_id, routed.id::text)
            LIMIT 1
        ) stored ON true
    ), advanced AS (
        UPDATE chats c
        SET last_seq = added.last_seq,
            last_to_lo = coalesce(added.last_to_lo, c.last_to_lo, c.last_seq),
            last_to_hi = coalesce(added.last_to_hi, c.last_to_hi, c.last_seq),
            activity_at = added.activity_at,
            sweep_at = coalesce(c.sweep_at, now() + make_interval(secs => :sweep_after))
        FROM (
            SELECT
                chat_id, max(seq) AS last_seq, max(created_at) AS activity_at,
                max(seq) FILTER (WHERE recipient_id <= sender_id) AS last_to_lo,
                max(seq) FILTER (WHERE recipient_id >= sender_id) AS last_to_hi
            FROM draft WHERE is_new GROUP BY chat_id
        ) added
        WHERE c.id = added.chat_id
    ), stored AS (
        INSERT INTO messages (chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at)
        SELECT chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at
        FROM draft WHERE is_new
    )
    SELECT
        id, chat_id, seq, sender_username, recipient_id, recipient_username, created_at, is_new
    FROM draft
"""
_WHOLE = """
    (
        SELECT * FROM (
            SELECT routed.*, count(*) OVER (PARTITION BY sender_id, key) AS held FROM routed
        ) counted
        WHERE held = same
    ) routed
"""
"""Who has locked a chat may leave in the middle. Then the first messages are skipped; no later one counts."""
_STORE = text(_SEND.format(wait="", routed="routed"))
_TRY_STORE = text(_SEND.format(wait="SKIP LOCKED", routed=_WHOLE))
"""Stores what is not there yet, under the next seqs of its locked chat, and has the sweep look after it.

The chat is read once it is locked, the messages as they were before. So if another worker stores the same
message meanwhile, the unique index fails the whole statement, and the next try finds the message.
Whatever the planner thinks of the size of the table, it is LATERAL that has it use the index.
"""


class _Route(NamedTuple):
    """From whom, and to which name, folded."""

    sender_id: str
    key: str


def send_messages(conn: Connection, requests: Sequence[Request[SendMessage]], rules: Rules) -> Outcome:
    """Store what is new, answer what was stored before with the first answer."""
    outcome = Outcome()
    accepted = _accept(requests, rules, outcome)
    firsts: dict[str, Request[SendMessage]] = {}
    for request in accepted:
        firsts.setdefault(_key(request), request)
    stored = _store(conn, list(firsts.values()), rules)
    refusals: dict[_Route, Refused] = {}
    strangers = [request for request in firsts.values() if request.id not in stored]
    if strangers:
        refusals = _open_chats(conn, strangers)
        stored |= _store(conn, [request for request in strangers if _route(request) not in refusals], rules)
    messages = {key: message for key, first in firsts.items() if (message := stored.get(first.id))}
    messages |= _read_stored(conn, [first for key, first in firsts.items() if key not in messages])
    for request in accepted:
        if (message := messages.get(_key(request))) is not None:
            _answer(outcome, request, message)
        else:
            refusal = refusals.get(_route(request)) or Refused(ErrorCode.UNAVAILABLE)
            outcome.fail(request, refusal.code, refusal.message)
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


def _route(request: Request[SendMessage]) -> _Route:
    return _Route(request.user_id, username_key(request.command.username))


def _once(request: Request[SendMessage]) -> str:
    """Return what makes it the same message when its sender tries again."""
    return request.command.client_id or request.id


def _key(request: Request[SendMessage]) -> str:
    return f"{request.user_id}/{_once(request)}"


def _store(
    conn: Connection, requests: Sequence[Request[SendMessage]], rules: Rules
) -> dict[str, Message | None]:
    """Store what no earlier try has stored; return the messages by request, None for a stored one.

    Where there is no chat, or somebody else has locked it and there is no patience, there is no entry.
    """
    routes = {request.id: _route(request) for request in requests}
    tried = {request.id: request for request in requests if "\0" not in routes[request.id].key}
    if not tried:
        return {}
    same = Counter(routes.values())
    params = {
        "senders": array(request.user_id for request in tried.values()),
        "keys": [routes[request_id].key for request_id in tried],
        "sames": array(same[routes[request_id]] for request_id in tried),
        "ids": array(tried),
        "texts": [request.command.text for request in tried.values()],
        "client_ids": [request.command.client_id for request in tried.values()],
        "sweep_after": rules.sweep_after_s,
    }
    rows = conn.execute(_STORE if rules.patient else _TRY_STORE, params)
    return {row[0]: _message(tried[row[0]], *row) for row in rows}


def _message(
    request: Request[SendMessage],
    message_id: str,
    chat_id: str,
    seq: int,
    sender_username: str,
    recipient_id: str,
    recipient_username: str,
    created_at: datetime,
    is_new: bool,
) -> Message | None:
    if not is_new:
        return None
    return Message(
        id=message_id,
        chat_id=chat_id,
        seq=seq,
        sender_id=request.user_id,
        sender_username=sender_username,
        recipient_id=recipient_id,
        recipient_username=recipient_username,
        text=request.command.text,
        created_at=iso_ms(created_at),
        status="sent",
        client_id=request.command.client_id or msgspec.UNSET,
    )


def _open_chats(conn: Connection, requests: Sequence[Request[SendMessage]]) -> dict[_Route, Refused]:
    """Make the chats that are missing; return where there cannot be one."""
    people = read_people(
        conn, {request.user_id for request in requests}, {request.command.username for request in requests}
    )
    refusals = {}
    pairs = set()
    for request in requests:
        try:
            people.require(request.user_id)
            pairs.add(Pair.of(request.user_id, people.find(request.command.username)))
        except Refused as refused:
            refusals[_route(request)] = refused
    open_chats(conn, pairs)
    return refusals


def _read_stored(conn: Connection, requests: Sequence[Request[SendMessage]]) -> dict[str, Message]:
    """Read what an earlier try has stored; by key."""
    if not requests:
        return {}
    params = {
        "senders": array(request.user_id for request in requests),
        "keys": [_once(request) for request in requests],
    }
    messages = [to_message(row) for row in conn.execute(_STORED, params)]
    return {f"{message.sender_id}/{message.client_id or message.id}": message for message in messages}


def _answer(outcome: Outcome, request: Request[SendMessage], message: Message) -> None:
    as_first = message if message.status == "sent" else msgspec.structs.replace(message, status="sent")
    rendered = msgspec.Raw(msgspec.json.encode(as_first))
    to_self = message.sender_id == message.recipient_id
    targets = [Target(message.sender_id, MESSAGE_SENT)]
    if message.status == "sent" and not to_self:
        targets.append(Target(message.recipient_id, NEW_MESSAGE, ack=True))
    # The sockets of who writes to themself get both events, and each of them once.
    position = Position(f"{message.chat_id}/sent" if to_self else message.chat_id, message.seq)
    outcome.answers.append(Answer(request.id, send_ack(rendered)))
    outcome.emits.append(Emit(targets, rendered, position))
    if message.status == "sent" and to_self:
        outcome.emits += deliveries([message])
