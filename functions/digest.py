"""What a notification says: who wrote, how many messages, and the newest text. Read when it is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from functions.channels.channel import Notice
from functions.shorten import shorten

_TEXT_CHARS = 200
_NAME_CHARS = 64
"""As long as a user name may be; what stands in the database may be longer."""
_NAMES = 2
"""The most names that a title spells out."""

_OPEN = text(
    """
    SELECT open.chat_id, p.username, open.messages, newest.text
    FROM (
        SELECT m.chat_id, m.sender_id, count(*) AS messages, max(m.seq) AS seq
        FROM notifications n
        CROSS JOIN LATERAL unnest(n.chat_ids, n.first_seqs, n.last_seqs) AS span (chat_id, first, last)
        JOIN chat_members w ON w.chat_id = span.chat_id AND w.user_id = n.user_id
        JOIN messages m ON m.chat_id = span.chat_id AND m.seq BETWEEN span.first AND span.last
            AND m.seq > greatest(w.delivered_seq, w.read_seq)
            AND m.recipient_id = n.user_id AND m.sender_id <> n.user_id
        WHERE n.id = :id
        GROUP BY m.chat_id, m.sender_id
    ) open
    JOIN messages newest ON newest.chat_id = open.chat_id AND newest.seq = open.seq
    JOIN profiles p ON p.id = open.sender_id
    ORDER BY newest.created_at DESC, open.chat_id
    """
)


@dataclass(frozen=True, slots=True)
class OpenChat:
    """The undelivered messages of one sender in one chat."""

    chat_id: UUID
    sender: str
    count: int
    newest_text: str


def read_open_chats(conn: Connection, notification_id: UUID) -> list[OpenChat]:
    """Return what is still undelivered of a notification, newest first."""
    rows = conn.execute(_OPEN, {"id": notification_id})
    return [OpenChat(row.chat_id, row.username, row.messages, row.text) for row in rows]


def digest(notification_id: UUID, chats: Sequence[OpenChat], *, hide_texts: bool) -> Notice:
    """Put a notification into words. `chats` must not be empty."""
    count = sum(chat.count for chat in chats)
    messages = "Message" if count == 1 else f"{count} messages"
    senders = tuple(shorten(chat.sender, _NAME_CHARS) for chat in chats)
    return Notice(
        id=notification_id,
        title=f"{messages} from {_join(senders)}",
        body=messages if hide_texts else f"{senders[0]}: {shorten(chats[0].newest_text, _TEXT_CHARS)}",
        count=count,
        senders=senders,
        chat_ids=tuple(chat.chat_id for chat in chats),
    )


def _join(names: Sequence[str]) -> str:
    *most, last = names
    if not most:
        return last
    if len(names) <= _NAMES:
        return f"{', '.join(most)} and {last}"
    return f"{', '.join(names[:_NAMES])} and {len(names) - _NAMES} more"
