"""What a notification says: who wrote, how many messages, and the newest text. Read when it is sent.

Once all of that is gone, what takes its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from functions.channels.channel import Notice
from functions.shorten import shorten
from infra.settings.templates import Templates, english
from infra.store.boxes import IS_SILENT
from infra.store.counting import count_messages
from infra.store.unread import TOTALS

_TEXT_CHARS = 200
_NAME_CHARS = 64
"""As long as a user name may be; what stands in the database may be longer."""
_NAMES = 2
"""The most names that a title spells out."""

_OPEN = text(
    f"""
    SELECT c.id AS chat_id,
        coalesce(CASE WHEN p.deleted_at IS NULL THEN p.display_name END, p.username) AS sender,
        open.messages - unsent.messages AS messages,
        CASE WHEN me.push_texts THEN newest.text ELSE '' END AS text, newest.kind IS NOT NULL AS is_system
    FROM notifications n
    CROSS JOIN LATERAL unnest(n.chat_ids, n.first_seqs, n.last_seqs) AS span (chat_id, first, last)
    CROSS JOIN LATERAL (SELECT * FROM chats WHERE id = span.chat_id LIMIT 1) c
    CROSS JOIN LATERAL (
        SELECT delivered_seq, read_seq, muted_until FROM chat_members
        WHERE chat_id = span.chat_id AND user_id = n.user_id LIMIT 1
    ) w
    CROSS JOIN LATERAL (
        SELECT greatest(span.first - 1, w.delivered_seq, w.read_seq) AS after,
            least(
                span.last,
                coalesce(CASE n.user_id WHEN c.user_lo THEN c.last_to_lo ELSE c.last_to_hi END, span.last)
            ) AS up_to
    ) seqs
    CROSS JOIN {count_messages(chat="c", user="n.user_id", after="seqs.after", up_to="seqs.up_to")} open
    CROSS JOIN LATERAL (
        SELECT sender_id, text, created_at, kind FROM messages
        WHERE chat_id = c.id AND seq > seqs.after AND seq <= seqs.up_to AND recipient_id = n.user_id
            AND deleted_at IS NULL
        ORDER BY seq DESC LIMIT 1
    ) newest
    CROSS JOIN LATERAL (
        SELECT count(*) AS messages
        FROM changed_messages changed JOIN messages m ON m.chat_id = changed.chat_id AND m.seq = changed.seq
        WHERE changed.chat_id = c.id AND changed.seq > seqs.after AND changed.seq <= seqs.up_to
            AND m.recipient_id = n.user_id AND m.deleted_at IS NOT NULL
    ) unsent
    JOIN profiles p ON p.id = newest.sender_id
    JOIN profiles me ON me.id = n.user_id
    WHERE n.id = :id AND open.messages > 0 AND NOT {IS_SILENT.format(chat="c", user="n.user_id", member="w")}
    ORDER BY newest.created_at DESC, c.id
    """
)
"""LATERAL: the planner might go through all spans for each chat of the user."""
_UNREAD = text(TOTALS)


@dataclass(frozen=True, slots=True)
class OpenChat:
    """The undelivered messages of one sender in one chat."""

    chat_id: UUID
    sender: str
    count: int
    newest_text: str
    """Empty if it has only data, or if the recipient does not want to see texts."""
    is_system: bool = False
    """Whether the app says the newest one, and not the sender."""


def read_open_chats(conn: Connection, notification_id: UUID) -> list[OpenChat]:
    """Return what is still undelivered of a notification, newest first."""
    rows = conn.execute(_OPEN, {"id": notification_id})
    return [OpenChat(row.chat_id, row.sender, row.messages, row.text, row.is_system) for row in rows]


def read_unread(conn: Connection, user_id: UUID) -> int:
    """Return how many messages a user has not read, as clients are told."""
    row = conn.execute(_UNREAD, {"users": [user_id]}).one_or_none()
    return 0 if row is None else int(row.total)


def digest(
    notification_id: UUID,
    chats: Sequence[OpenChat],
    *,
    unread: int,
    hide_texts: bool,
    templates: Templates | None = None,
) -> Notice:
    """Put a notification into words, English ones by default. `chats` must not be empty."""
    templates = templates or english()
    count = sum(chat.count for chat in chats)
    messages = templates.messages.fill(count)
    senders = tuple(shorten(chat.sender, _NAME_CHARS) for chat in chats)
    return Notice(
        id=notification_id,
        title=templates.title.fill(count, messages=messages, senders=_join(senders, templates)),
        body=messages if hide_texts or not chats[0].newest_text else _newest(senders[0], chats[0], templates),
        count=count,
        senders=senders,
        chat_ids=tuple(chat.chat_id for chat in chats),
        unread=unread,
    )


def farewell(
    notification_id: UUID, chat_ids: Sequence[UUID], *, unread: int, templates: Templates | None = None
) -> Notice:
    """Put into words that the last message of a notification was unsent."""
    title = (templates or english()).deleted.fill(0)
    return Notice(notification_id, title, "", 0, (), tuple(chat_ids), unread, is_replacement=True)


def _newest(sender: str, chat: OpenChat, templates: Templates) -> str:
    text = shorten(chat.newest_text, _TEXT_CHARS)
    return text if chat.is_system else templates.body.fill(chat.count, sender=sender, text=text)


def _join(names: Sequence[str], templates: Templates) -> str:
    if len(names) == 1:
        return names[0]
    first, second = names[:_NAMES]
    if len(names) == _NAMES:
        return templates.two.fill(_NAMES, first=first, second=second)
    return templates.more.fill(len(names) - _NAMES, first=first, second=second)
