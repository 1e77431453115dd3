"""What the chat holds of a user, but for the archive: read in pages, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, TextClause, text

from infra.store.boxes import Box
from infra.store.letters import IS_LETTER_OF
from infra.wire.events import iso_ms
from infra.wire.export import (
    ArchivedLine,
    BlockLine,
    ChatLine,
    DeviceLine,
    Line,
    MessageLine,
    NotificationLine,
    ProfileLine,
    ReactionLine,
    ReportLine,
    SettingsLine,
    Time,
    UnhandledLine,
)

_LARGE: Final = 10
"""How many rows of other kinds count as one with copies of messages, or with a payload."""
_FIRST: Final = UUID(int=0)
_END: Final = 2**63 - 1
"""As a seq in a cursor: all of the chat was read."""

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
    """
    SELECT c.id, p.id AS peer_id, p.username AS peer_username, c.last_seq, c.activity_at,
        CASE :user WHEN c.user_lo THEN c.lo_box ELSE c.hi_box END AS box,
        CASE :user WHEN c.user_lo THEN c.lo_blocked_at ELSE c.hi_blocked_at END AS blocked_at,
        w.delivered_seq, w.read_seq, w.cleared_seq, w.joined_at, w.muted_until,
        (
            SELECT json_agg(json_build_array(lower(span), upper(span) - 1) ORDER BY span)
            FROM archived_chats a CROSS JOIN LATERAL unnest(a.seqs) AS spans (span) WHERE a.chat_id = c.id
        ) AS archived
    FROM (
        SELECT * FROM chat_members WHERE user_id = :user AND chat_id > :after ORDER BY chat_id LIMIT :rows
    ) w
    JOIN chats c ON c.id = w.chat_id
    JOIN profiles p ON p.id = CASE :user WHEN c.user_lo THEN c.user_hi ELSE c.user_lo END
    ORDER BY c.id
    """
)
_MESSAGES = text(
    """
    WITH own AS MATERIALIZED (
        SELECT id, after, sum(left_over) OVER (ORDER BY id) - left_over AS earlier
        FROM (
            SELECT chat_id AS id, CASE chat_id WHEN :chat THEN CAST(:seq AS bigint) ELSE 0 END AS after
            FROM chat_members WHERE user_id = :user AND chat_id >= :chat
            ORDER BY chat_id LIMIT :rows
        ) w
        JOIN chats c USING (id)
        CROSS JOIN LATERAL (SELECT greatest(c.last_seq - after, 0) AS left_over) counted
    )
    SELECT own.id AS chat_id, m.seq, m.id, m.sender_id, m.recipient_id, m.text, m.client_id, m.created_at,
        m.data, m.reply_to, m.change, m.edited_at, m.deleted_at, m.reactions, m.kind
    FROM own
    LEFT JOIN LATERAL (
        SELECT * FROM messages WHERE chat_id = own.id AND seq > own.after ORDER BY seq LIMIT :rows
    ) m ON true
    WHERE own.earlier < :rows OR own.id = :chat
    ORDER BY own.id, m.seq LIMIT :rows
    """
)
"""Each chat has a row, also one without messages. What earlier chats fill the page with is not read."""
_REPORTS = text(
    """
    SELECT id, reported_id, chat_id, seq, reason, note, messages::text AS messages, created_at, closed_at
    FROM reports WHERE reporter_id = :user AND id > :after ORDER BY id LIMIT :rows
    """
)
_NOTIFICATIONS = text(
    """
    SELECT id, created_at, finished_at, outcome FROM notifications
    WHERE user_id = :user AND id > :after ORDER BY id LIMIT :rows
    """
)
_UNHANDLED = text(
    f"""
    SELECT id, event, payload, created_at FROM dead_letters l
    WHERE {IS_LETTER_OF} AND id > :after ORDER BY id LIMIT :rows
    """
)

_BOXES: Final = {
    Box.PINNED: "pinned",
    Box.ARCHIVED: "archived",
    Box.REQUESTS: "requests",
    Box.DECLINED: "declined",
}


def read_page(
    conn: Connection, user_id: UUID, cursor: str | None, rows: int, *, archived: bool
) -> tuple[list[Line], str | None]:
    """Return some of what the chat holds of a user, about `rows` messages, and the cursor of what follows.

    With `archived`, it says which messages are in the archive. Raises ValueError for a cursor that is none.
    """
    section, _, place = (cursor or "profile ").partition(" ")
    if section == "profile":
        lines = [*_profile(conn, user_id), *(_device(row) for row in _read(conn, _DEVICES, user_id))]
        return lines, _cursor("chats", _FIRST)
    if section == "messages":
        return _messages(conn, user_id, place, rows)
    after = UUID(place)
    if section not in _SECTIONS:
        raise ValueError(section)
    statement, few, follows = _SECTIONS[section]
    rows = max(1, rows // few)
    found = _read(conn, statement, user_id, after=after, rows=rows)
    lines = [line for row in found for line in _LINES[section](row) if archived or not _is_archived(line)]
    if len(found) == rows:
        return lines, _cursor(section, found[-1].id)
    return lines, follows


def _read(conn: Connection, statement: TextClause, user_id: UUID, **params: object) -> list[Row[Any]]:
    return list(conn.execute(statement, {"user": user_id, **params}))


def _cursor(section: str, after: object) -> str:
    return f"{section} {after}"


def _messages(conn: Connection, user_id: UUID, place: str, rows: int) -> tuple[list[Line], str | None]:
    chat, _, seq = place.partition(" ")
    after = int(seq)
    rows = max(2, rows)  # the first may be that of a chat that was read to its end
    if not 0 <= after <= _END:
        raise ValueError(place)
    found = _read(conn, _MESSAGES, user_id, chat=UUID(chat), seq=after, rows=rows)
    lines = [line for row in found if row.seq is not None for line in message_lines(row)]
    if not found or (after == _END and len(found) == 1):
        return lines, _cursor("reports", _FIRST)
    last = found[-1]
    end = last.seq if len(found) == rows and last.seq is not None else _END
    return lines, _cursor("messages", f"{last.chat_id} {end}")


def _profile(conn: Connection, user_id: UUID) -> Iterator[Line]:
    row = conn.execute(_PROFILE, {"user": user_id}).one_or_none()
    if row is None:
        yield ProfileLine(id=str(user_id))
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


def _chat(row: Row[Any]) -> Iterator[Line]:
    """Yield a chat that the user can see, whether they have blocked the peer, and what is archived."""
    if row.box != Box.UNSEEN:
        yield ChatLine(
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
    if row.blocked_at is not None:
        yield BlockLine(user_id=str(row.peer_id), username=row.peer_username, at=_time(row.blocked_at))
    if row.archived:
        yield ArchivedLine(chat_id=str(row.id), spans=row.archived)


def message_lines(row: Any, *, archived: bool = False) -> Iterator[Line]:
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


def _is_archived(line: Line) -> bool:
    return isinstance(line, ArchivedLine)


_SECTIONS: Final[dict[str, tuple[TextClause, int, str | None]]] = {
    "chats": (_CHATS, 1, f"messages {_FIRST} 0"),
    "reports": (_REPORTS, _LARGE, f"notifications {_FIRST}"),
    "notifications": (_NOTIFICATIONS, 1, f"unhandled {_FIRST}"),
    "unhandled": (_UNHANDLED, _LARGE, None),
}
"""What is read by id: how, how large a row is, and the cursor of what follows."""
_LINES: Final[dict[str, Callable[[Row[Any]], Iterable[Line]]]] = {
    "chats": _chat,
    "reports": lambda row: [_report(row)],
    "notifications": lambda row: [_notification(row)],
    "unhandled": lambda row: [_unhandled(row)],
}
