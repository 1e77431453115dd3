"""Stores messages, each once and with hole-free seqs: one statement for any number of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, text

from infra.store.boxes import IS_OPEN
from infra.store.counting import NUMBERED_AFTER
from infra.store.outbox import ISO_MS, insertion
from infra.store.profiles import find_key
from infra.wire.commands import SendMessage, SendSystemMessage
from infra.wire.events import Message, Quote, iso_ms
from infra.wire.webhooks import MESSAGE_CREATED
from workers.arrays import array
from workers.context import HandlerContext
from workers.locking import LockingStatement
from workers.messages import COLUMNS, JOINS, QUOTED, to_message, to_quote
from workers.refusals import NOT_REFUSED
from workers.requests import Request

_STORED = text(
    f"""
    SELECT {COLUMNS}, m.seq > greatest(w.delivered_seq, w.read_seq) AS is_undelivered
    FROM unnest(CAST(:senders AS uuid[]), CAST(:keys AS text[])) AS tried (sender_id, key)
    JOIN messages m ON m.sender_id = tried.sender_id AND coalesce(m.client_id, m.id::text) = tried.key
    {JOINS}
    """
)
_RECIPIENT = """
    JOIN profiles r ON r.username_key = coalesce(
        tried.key, (SELECT username_key FROM profiles WHERE id = tried.user_id AND deleted_at IS NULL)
    )
"""
_QUOTED = text(
    f"""
    SELECT tried.place, tried.seq, quoted.*
    FROM unnest(
        CAST(:senders AS uuid[]), CAST(:keys AS text[]), CAST(:user_ids AS uuid[]), CAST(:seqs AS bigint[])
    ) WITH ORDINALITY AS tried (sender_id, key, user_id, seq, place)
    {_RECIPIENT}
    JOIN chats c ON c.user_lo = least(tried.sender_id, r.id) AND c.user_hi = greatest(tried.sender_id, r.id)
    {QUOTED.format(chat="c.id", seq="tried.seq")}
    WHERE tried.seq BETWEEN 1 AND c.last_seq
    """
)
_TRIED: Final = {
    "sender_id": "uuid",
    "key": "text",
    "user_id": "uuid",
    "id": "uuid",
    "text": "text",
    "data": "text",
    "reply_to": "bigint",
    "client_id": "text",
}
"""What the statement is given of each message, with its type."""
_MANY: Final = "unnest({}) WITH ORDINALITY AS tried ({}, place)".format(
    ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _TRIED.items()), ", ".join(_TRIED)
)
_ONE: Final = "(SELECT {}, 1 AS place) AS tried".format(
    ", ".join(f"CAST(:{name} AS {kind}) AS {name}" for name, kind in _TRIED.items())
)
"""To unnest arrays for a lone message takes an eighth of the time of its statement."""
_SEND = """
    WITH routed AS MATERIALIZED (
        SELECT
            tried.*, s.username AS sender_username, r.id AS recipient_id, r.username AS recipient_username,
            r.username_key AS recipient_key, c.id AS chat_id, c.last_seq,
            greatest(now(), c.activity_at) AS created_at,
            CASE WHEN c.to_lo + c.to_hi = c.last_seq THEN c.to_lo ELSE 0 END AS last_number{gate_columns}
        FROM {tried}
        JOIN profiles s ON s.id = tried.sender_id AND s.deleted_at IS NULL
        {recipient}
        JOIN chats c ON c.user_lo = least(s.id, r.id) AND c.user_hi = greatest(s.id, r.id){gate}
        ORDER BY c.id
        FOR NO KEY UPDATE OF c {skip_locked}
    ), draft AS MATERIALIZED (
        SELECT
            found.*,
            last_seq + count(*) FILTER (WHERE is_new) OVER so_far AS seq,
            last_number + count(*) FILTER (WHERE is_new AND recipient_id <= sender_id) OVER so_far AS to_lo
        FROM (
            SELECT routed.*, stored.id IS NOT NULL AS is_stored, stored.id IS NULL{may} AS is_new
            FROM {routed}
            LEFT JOIN LATERAL (
                SELECT m.id FROM messages m
                WHERE m.sender_id = routed.sender_id
                    AND coalesce(m.client_id, m.id::text) = coalesce(routed.client_id, routed.id::text)
                LIMIT 1
            ) stored ON true
        ) found
        WINDOW so_far AS (PARTITION BY chat_id ORDER BY place)
    ), advanced AS (
        UPDATE chats c
        SET last_seq = added.last_seq,
            last_to_lo = coalesce(added.last_to_lo, c.last_to_lo, c.last_seq),
            last_to_hi = coalesce(added.last_to_hi, c.last_to_hi, c.last_seq),
            to_lo = added.to_lo,
            to_hi = added.last_seq - added.to_lo,
            numbered_after = {numbered_after},
            activity_at = added.activity_at,
            listed_at = CASE WHEN c.sweep_at IS NULL THEN added.activity_at ELSE c.listed_at END,
            is_behind = c.sweep_at IS NOT NULL AND added.activity_at > c.listed_at,
            sweep_at = coalesce(c.sweep_at, now() + make_interval(secs => :sweep_after)){set_boxes}
        FROM (
            SELECT
                chat_id, max(seq) AS last_seq, max(to_lo) AS to_lo, max(created_at) AS activity_at,
                max(seq) FILTER (WHERE recipient_id <= sender_id) AS last_to_lo,
                max(seq) FILTER (WHERE recipient_id >= sender_id) AS last_to_hi{moves}
            FROM draft WHERE is_new GROUP BY chat_id
        ) added
        WHERE c.id = added.chat_id
    ), stored AS (
        INSERT INTO messages (
            chat_id, seq, id, sender_id, recipient_id, text, data, reply_to, client_id, created_at, to_lo
            {kind_column}
        )
        SELECT chat_id, seq, id, sender_id, recipient_id, text, data, reply_to, client_id, created_at, to_lo
            {kind}
        FROM draft WHERE is_new
    ){hiding}{told}
    SELECT
        id, chat_id, seq, sender_username, recipient_id, recipient_username, created_at, is_new{gate_answer}
    FROM draft
"""
_UNBROKEN = """
    (
        SELECT * FROM (
            SELECT routed.*, count(*) OVER (PARTITION BY sender_id, chat_id) AS held FROM routed
        ) counted
        WHERE held = (
            SELECT count(*)
            FROM {tried}
            WHERE tried.sender_id = counted.sender_id
                AND (tried.key = recipient_key OR tried.key IS NULL AND tried.user_id = recipient_id)
        )
    ) routed
"""
"""Drops messages whose chat was unlocked midway: otherwise later ones would be stored without the first."""


_BODY = f"""
            left(CAST(json_build_object(
                'id', id, 'chatId', chat_id, 'seq', seq, 'senderId', sender_id,
                'senderUsername', sender_username, 'recipientId', recipient_id,
                'recipientUsername', recipient_username, 'text', text,
                'createdAt', {ISO_MS.format(moment="created_at")}, 'status', 'sent'
            ) AS text), -1)
            || coalesce(',"clientId":' || to_json(client_id), '')
            || coalesce(',"data":' || data, '')
            || CASE WHEN reply_to IS NULL THEN '' ELSE ',"replyTo":' || json_build_object('seq', reply_to) END
            || '{{kind_told}}}}}}'
"""
"""A new message as clients see it, without what it answers. `data` is JSON, and stays as it came."""
_TOLD = ", told AS ({})".format(
    insertion(
        MESSAGE_CREATED,
        key="id",
        about="chat_id",
        body=_BODY,
        source="(SELECT * FROM draft WHERE is_new) new ORDER BY place",
    )
)
_OPTIONAL_PARTS: Final = (
    "told",
    "kind_column",
    "kind",
    "kind_told",
    "gate",
    "gate_columns",
    "may",
    "set_boxes",
    "moves",
    "hiding",
    "gate_answer",
)


class SendingStatement:
    """A statement that stores messages, with these parts about who may write to whom.

    There are four of it: for one message and for many, and, as webhooks cost nothing while no endpoint wants
    new messages, with them and without.
    """

    def __init__(self, **parts: str) -> None:
        self._statements = {
            (is_one, is_told): _statement(is_one, told=_TOLD if is_told else "", **parts)
            for is_one in (False, True)
            for is_told in (False, True)
        }

    def fetch(
        self, conn: Connection, requests: Sequence[Request[SendMessage]], context: HandlerContext
    ) -> list[tuple[Any, ...]]:
        """Store the messages of the requests, and return a row for each, past SQLAlchemy."""
        is_one = len(requests) == 1
        parameters = dict(zip(_TRIED, _tried(requests[0]), strict=True)) if is_one else _all_tried(requests)
        parameters["sweep_after"] = context.sweep_after_s
        endpoints = context.webhooks.get(MESSAGE_CREATED)
        if endpoints:
            parameters["endpoints"] = [*endpoints]
        return self._statements[is_one, bool(endpoints)].fetch(conn, context, parameters)


def _statement(is_one: bool, **optional: str) -> LockingStatement:
    tried = _ONE if is_one else _MANY
    parts = {"tried": tried, "numbered_after": NUMBERED_AFTER.format(chat="c"), "recipient": _RECIPIENT}
    sql = _SEND
    for name, part in {**dict.fromkeys(_OPTIONAL_PARTS, ""), **parts, **optional}.items():
        sql = sql.replace(f"{{{name}}}", part)
    return LockingStatement(sql, routed=("routed", _UNBROKEN.replace("{tried}", tried)))


_STORE = SendingStatement(
    gate=f" AND {IS_OPEN.format(chat='c')} AND {NOT_REFUSED.format(request='tried.id', chat='c')}"
)
"""Stores new messages under the next seqs of their chats, which it locks, and schedules the sweep.

The chat is read once it is locked; messages are read as they were before. If another worker stores the same
message meanwhile, the unique index fails the whole statement, and the next try finds the message. LATERAL
makes the planner use that index, however large it thinks the table is.

Only chats that are open are locked. `workers.gate` decides about the others.
"""


class Route(NamedTuple):
    """Who writes or asks, and the other user's folded name or, without one, their id."""

    sender_id: str
    key: str | None
    user_id: str | None


def is_system(request: Request[SendMessage]) -> bool:
    """Return whether the app says it, and not the user."""
    return isinstance(request.command, SendSystemMessage)


def route(request: Request[SendMessage]) -> Route:
    """Return the sender and recipient of a message; of other requests, who asks and whom they name."""
    username, user_id = request.command.username, request.command.user_id
    if user_id is not None:
        return Route(request.user_id, None, str(user_id))
    return Route(request.user_id, None if username is None else find_key(username), None)


def key_of(request: Request[SendMessage]) -> str:
    """Return what identifies a message when its sender tries again."""
    return f"{request.user_id}/{_own_key(request)}"


def _own_key(request: Request[SendMessage]) -> str:
    """Return what distinguishes a message from others of its sender."""
    return request.command.client_id or request.id


def store_messages(
    conn: Connection, requests: Sequence[Request[SendMessage]], context: HandlerContext
) -> dict[str, Message | None]:
    """Store messages that are new; return them by request, with None for those stored before.

    What they answer is not in them yet.

    Requests without a chat that is open have no entry, and neither do those whose locked chat was skipped.
    """
    if not requests:
        return {}
    tried = {request.id: request for request in requests}
    rows = _STORE.fetch(conn, requests, context)
    return {row[0]: as_sent(tried[row[0]], *row) for row in rows}


def _tried(request: Request[SendMessage]) -> tuple[Any, ...]:
    """Return what a statement is given of a message: values for `_TRIED`."""
    command = request.command
    return (
        *route(request),
        request.id,
        command.text,
        command.data_text,
        command.reply_to,
        command.client_id,
    )


def _all_tried(requests: Sequence[Request[SendMessage]]) -> dict[str, Any]:
    """Return the same of many messages, in arrays."""
    columns = zip(*map(_tried, requests), strict=True)
    return {
        name: [*column] if kind == "text" else array(column)
        for (name, kind), column in zip(_TRIED.items(), columns, strict=True)
    }


def read_quotes(conn: Connection, requests: Sequence[Request[SendMessage]]) -> dict[str, Quote]:
    """Return what the replies among the requests answer, by request; those to no message have no entry."""
    replies = [request for request in requests if request.command.reply_to is not None]
    if not replies:
        return {}
    routes = [route(request) for request in replies]
    params = {
        "senders": array(one.sender_id for one in routes),
        "keys": [one.key for one in routes],
        "user_ids": array(one.user_id for one in routes),
        "seqs": [request.command.reply_to for request in replies],
    }
    return {
        replies[place - 1].id: to_quote(seq, *quoted) for place, seq, *quoted in conn.execute(_QUOTED, params)
    }


def as_sent(
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
    """Return a message that was stored just now as clients see it; None if it was stored before."""
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
        data=msgspec.UNSET if request.command.data_text is None else request.command.data,
        kind="system" if is_system(request) else msgspec.UNSET,
    )


def read_stored(conn: Connection, requests: Sequence[Request[SendMessage]]) -> dict[str, Message]:
    """Read messages that an earlier try has stored; by key.

    Their status says whether they were delivered, whatever their senders may know of it.
    """
    if not requests:
        return {}
    params = {
        "senders": array(request.user_id for request in requests),
        "keys": [_own_key(request) for request in requests],
    }
    messages = [
        msgspec.structs.replace(to_message(row), status="sent" if row.is_undelivered else "delivered")
        for row in conn.execute(_STORED, params)
    ]
    return {f"{message.sender_id}/{message.client_id or message.id}": message for message in messages}
