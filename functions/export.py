"""Exports what the chat holds of a user: one JSON object per line, each with a `type`.

Everything is read in one transaction, so that it fits together, through cursors of the server: memory is the
same for any number of messages. A message that the archive holds twice comes twice; the last change counts.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, TextClause, text

from functions.archive.bucket import ArchiveBucket
from functions.archive.message_file import ArchivedMessage
from functions.context import Context
from functions.people import IS_LETTER_OF, Person
from infra.store.boxes import Box
from infra.wire.events import iso_ms

BATCH: Final = 250
"""Rows that are held in memory at a time."""

_PATIENCE: Final = text("SELECT set_config('idle_in_transaction_session_timeout', '10min', true)")
"""Whoever reads the lines may be slow, and objects of the archive are downloaded in between."""

_PROFILE = text(
    """
    SELECT id, username, display_name, avatar_url, data, created_at, named_at, last_seen_at, deleted_at,
        messages_from, read_receipts, show_presence, push_texts
    FROM profiles WHERE id = :user
    """
)
_DEVICES = text(
    """
    SELECT id, channel, CASE channel WHEN 'email' THEN address END AS address, time_zone, language,
        registered_at
    FROM devices WHERE user_id = :user ORDER BY registered_at
    """
)
_CHATS = text(
    f"""
    SELECT c.id, p.id AS peer_id, p.username AS peer_username, c.last_seq, c.activity_at,
        CASE :user WHEN c.user_lo THEN c.lo_box ELSE c.hi_box END AS box,
        CASE :user WHEN c.user_lo THEN c.lo_blocked_at ELSE c.hi_blocked_at END AS blocked_at,
        w.delivered_seq, w.read_seq, w.cleared_seq, w.joined_at, w.muted_until
    FROM chats c
    JOIN profiles p ON p.id = CASE :user WHEN c.user_lo THEN c.user_hi ELSE c.user_lo END
    LEFT JOIN chat_members w ON w.chat_id = c.id AND w.user_id = :user
    WHERE (c.user_lo = :user OR c.user_hi = :user)
        AND CASE :user WHEN c.user_lo THEN c.lo_box ELSE c.hi_box END <> {Box.UNSEEN}
    ORDER BY c.id
    """
)
_BLOCKS = text(
    """
    SELECT p.id, p.username, CASE :user WHEN c.user_lo THEN c.lo_blocked_at ELSE c.hi_blocked_at END AS at
    FROM chats c
    JOIN profiles p ON p.id = CASE :user WHEN c.user_lo THEN c.user_hi ELSE c.user_lo END
    WHERE c.user_lo = :user AND c.lo_blocked_at IS NOT NULL
        OR c.user_hi = :user AND c.hi_blocked_at IS NOT NULL
    ORDER BY at
    """
)
_MESSAGES = text(
    """
    SELECT m.chat_id, m.seq, m.id, m.sender_id, m.recipient_id, m.text, m.client_id, m.created_at, m.data,
        m.reply_to, m.change, m.edited_at, m.deleted_at, m.reactions, m.kind
    FROM (
        SELECT id FROM chats WHERE user_lo = :user UNION SELECT id FROM chats WHERE user_hi = :user
    ) own
    JOIN messages m ON m.chat_id = own.id
    WHERE m.sender_id = :user OR m.recipient_id = :user
    """
)
"""Without an order: the planner would sort all messages before the first one."""
_NOT_STORED = text(
    """
    SELECT archived.id
    FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[]), CAST(:ids AS uuid[]))
        AS archived (chat_id, seq, id)
    WHERE NOT EXISTS (
        SELECT FROM messages m
        WHERE m.chat_id = archived.chat_id AND m.seq = archived.seq AND m.id = archived.id
    )
    """
)
_REPORTS = text(
    """
    SELECT id, reported_id, chat_id, seq, reason, note, messages::text AS messages, created_at, closed_at
    FROM reports WHERE reporter_id = :user ORDER BY created_at
    """
)
_NOTIFICATIONS = text(
    """
    SELECT id, created_at, finished_at, outcome FROM notifications
    WHERE user_id = :user ORDER BY created_at
    """
)
_UNHANDLED = text(
    f"SELECT id, event, payload, created_at FROM dead_letters l WHERE {IS_LETTER_OF} ORDER BY id"
)

_BOXES: Final = {
    Box.PINNED: "pinned",
    Box.ARCHIVED: "archived",
    Box.REQUESTS: "requests",
    Box.DECLINED: "declined",
}

Time = str | None


class _Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type", omit_defaults=True):
    """A line. Fields that have nothing are left out."""


class ProfileLine(_Line, frozen=True, tag="profile"):
    """Who the user is in the chat; comes first, and once."""

    id: str
    username: str | None = None
    name: str | None = None
    avatar_url: str | None = None
    data: msgspec.Raw | None = None
    created_at: Time = None
    named_at: Time = None
    last_seen_at: Time = None
    deleted_at: Time = None


class SettingsLine(_Line, frozen=True, tag="settings"):
    """What the user has set for all chats."""

    messages_from: str
    read_receipts: bool
    show_presence: str
    push_texts: bool


class DeviceLine(_Line, frozen=True, tag="device"):
    """Where the user is notified. What lets others notify them is left out: tokens, keys, URLs."""

    id: str
    channel: str
    address: str | None = None
    time_zone: str | None = None
    language: str | None = None
    registered_at: Time = None


class ChatLine(_Line, frozen=True, tag="chat"):
    """A chat, and how far the user is in it."""

    id: str
    peer_id: str
    peer_username: str
    last_seq: int
    activity_at: Time
    box: str = "inbox"
    delivered_up_to: int = 0
    read_up_to: int = 0
    cleared_up_to: int = 0
    joined_at: Time = None
    muted_until: Time = None


class BlockLine(_Line, frozen=True, tag="block"):
    """Somebody whom the user has blocked."""

    user_id: str
    username: str
    at: Time


class MessageLine(_Line, frozen=True, tag="message"):
    """A message that the user wrote or received."""

    chat_id: str
    seq: int
    id: str
    sender_id: str
    recipient_id: str
    text: str
    created_at: Time
    client_id: str | None = None
    data: msgspec.Raw | None = None
    reply_to: int | None = None
    change: int | None = None
    edited_at: Time = None
    deleted_at: Time = None
    kind: str | None = None
    archived: bool = False


class ReactionLine(_Line, frozen=True, tag="reaction"):
    """A reaction of the user, or of the peer to a message of the user; behind its message."""

    chat_id: str
    seq: int
    user_id: str
    emoji: str


class ReportLine(_Line, frozen=True, tag="report"):
    """A message that the user has reported, with the copy that was made of it."""

    id: str
    reported_id: str
    chat_id: str
    seq: int
    reason: str
    messages: msgspec.Raw
    created_at: Time
    note: str | None = None
    closed_at: Time = None


class NotificationLine(_Line, frozen=True, tag="notification"):
    """When the user was notified."""

    id: str
    created_at: Time
    finished_at: Time = None
    outcome: str | None = None


class UnhandledLine(_Line, frozen=True, tag="unhandled"):
    """An event that the user's client sent, or the app's backend about them, and no worker could handle."""

    id: str
    event: str
    payload: str
    created_at: Time


Line = (
    ProfileLine
    | SettingsLine
    | DeviceLine
    | ChatLine
    | BlockLine
    | MessageLine
    | ReactionLine
    | ReportLine
    | NotificationLine
    | UnhandledLine
)
_encoder = msgspec.json.Encoder()


def export_lines(context: Context, person: Person) -> Iterator[bytes]:
    """Yield the export of a user line by line, each with its line break.

    Reads the archive if there is one. Raises ArchiveError for an object that is not what was written, and
    what SQLAlchemy and boto3 raise: then the export is not complete.
    """
    for line in _export(context, person):
        yield _encoder.encode(line) + b"\n"


def _export(context: Context, person: Person) -> Iterator[Line]:
    engine = context.engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.begin() as conn:
        conn.execute(_PATIENCE)
        yield from _profile(conn, person)
        for row in _rows(conn, _DEVICES, person.id):
            yield _device(row)
        for row in _rows(conn, _CHATS, person.id):
            yield _chat(row)
        for row in _rows(conn, _BLOCKS, person.id):
            yield BlockLine(user_id=str(row.id), username=row.username, at=_time(row.at))
        for row in _rows(conn, _MESSAGES, person.id):
            yield from _message(row)
        if context.settings.archive_bucket is not None:
            yield from _archived(conn, ArchiveBucket.connect(context.settings), person.id)
        for row in _rows(conn, _REPORTS, person.id):
            yield _report(row)
        for row in _rows(conn, _NOTIFICATIONS, person.id):
            yield _notification(row)
        for row in _rows(conn, _UNHANDLED, person.id):
            yield _unhandled(row)


def _rows(conn: Connection, statement: TextClause, user_id: UUID) -> Iterator[Row[Any]]:
    """Yield rows through a cursor of the server."""
    options = {"yield_per": BATCH}
    with conn.execute(statement, {"user": user_id}, execution_options=options) as found:
        yield from found


def _profile(conn: Connection, person: Person) -> Iterator[Line]:
    row = conn.execute(_PROFILE, {"user": person.id}).one_or_none()
    if row is None:
        yield ProfileLine(id=str(person.id))
        return
    yield ProfileLine(
        id=str(row.id),
        username=row.username,
        name=row.display_name,
        avatar_url=row.avatar_url,
        data=None if row.data is None else _on_one_line(row.data),
        created_at=_time(row.created_at),
        named_at=_time(row.named_at),
        last_seen_at=_time(row.last_seen_at),
        deleted_at=_time(row.deleted_at),
    )
    yield SettingsLine(
        messages_from=row.messages_from,
        read_receipts=row.read_receipts,
        show_presence=row.show_presence,
        push_texts=row.push_texts,
    )


def _device(row: Row[Any]) -> Line:
    return DeviceLine(
        id=str(row.id),
        channel=row.channel,
        address=row.address,
        time_zone=row.time_zone,
        language=row.language,
        registered_at=_time(row.registered_at),
    )


def _chat(row: Row[Any]) -> Line:
    return ChatLine(
        id=str(row.id),
        peer_id=str(row.peer_id),
        peer_username=row.peer_username,
        last_seq=row.last_seq,
        activity_at=_time(row.activity_at),
        box=_BOXES.get(row.box, "inbox"),
        delivered_up_to=row.delivered_seq or 0,
        read_up_to=row.read_seq or 0,
        cleared_up_to=row.cleared_seq or 0,
        joined_at=_time(row.joined_at),
        muted_until=_time(row.muted_until),
    )


def _message(row: Row[Any] | ArchivedMessage, *, archived: bool = False) -> Iterator[Line]:
    """Yield a message and its reactions."""
    yield MessageLine(
        chat_id=str(row.chat_id),
        seq=row.seq,
        id=str(row.id),
        sender_id=str(row.sender_id),
        recipient_id=str(row.recipient_id),
        text=row.text,
        created_at=_time(row.created_at),
        client_id=row.client_id,
        data=None if row.data is None else _on_one_line(row.data),
        reply_to=row.reply_to,
        change=row.change,
        edited_at=_time(row.edited_at),
        deleted_at=_time(row.deleted_at),
        kind=row.kind,
        archived=archived,
    )
    for emoji, user_id in row.reactions or ():
        yield ReactionLine(chat_id=str(row.chat_id), seq=row.seq, user_id=user_id, emoji=emoji)


def _archived(conn: Connection, bucket: ArchiveBucket, user_id: UUID) -> Iterator[Line]:
    """Yield the user's messages that are in the archive, and were not in Postgres when the export began."""
    for name, _ in bucket.every_object():
        with bucket.verified(name) as copy:
            for batch in copy.messages():
                own = [one for one in batch if user_id in (one.sender_id, one.recipient_id)]
                missing = _not_stored(conn, own)
                for message in own:
                    if message.id in missing:
                        yield from _message(message, archived=True)


def _not_stored(conn: Connection, messages: Sequence[ArchivedMessage]) -> set[UUID]:
    if not messages:
        return set()
    params = {
        "chats": [message.chat_id for message in messages],
        "seqs": [message.seq for message in messages],
        "ids": [message.id for message in messages],
    }
    return set(conn.execute(_NOT_STORED, params).scalars())


def _report(row: Row[Any]) -> Line:
    return ReportLine(
        id=str(row.id),
        reported_id=str(row.reported_id),
        chat_id=str(row.chat_id),
        seq=row.seq,
        reason=row.reason,
        note=row.note,
        created_at=_time(row.created_at),
        closed_at=_time(row.closed_at),
        messages=_on_one_line(row.messages),
    )


def _notification(row: Row[Any]) -> Line:
    return NotificationLine(
        id=str(row.id),
        created_at=_time(row.created_at),
        finished_at=_time(row.finished_at),
        outcome=row.outcome,
    )


def _unhandled(row: Row[Any]) -> Line:
    return UnhandledLine(
        id=str(row.id), event=row.event, payload=row.payload, created_at=_time(row.created_at)
    )


def _on_one_line(json: str) -> msgspec.Raw:
    """Return JSON without the line breaks that an app may have put between its tokens."""
    return msgspec.Raw(json.replace("\n", " ").replace("\r", " ").encode())


def _time(moment: datetime | str | None) -> Time:
    """Return a time as clients see it. The archive has it as text, more exactly."""
    return iso_ms(moment) if isinstance(moment, datetime) else moment
