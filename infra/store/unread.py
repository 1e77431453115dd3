"""Counts what users have not read in all their chats, at a cost that depends on their unread chats alone.

A chat has a mark for each member. The sweep sets it if the member has not read all messages, and reading them
all removes it. In between a mark may be missing only while `sweep_at` is set, and the index has these chats,
too. A mark too many costs time and changes no count. So sends need not touch the marks.
"""

from typing import Final

from infra.store.boxes import IS_BLOCKED, Box
from infra.store.counting import count_messages

MOST_CHATS: Final = 500
"""How many unread chats of a user are counted. Whoever has more sees no difference."""

_CANDIDATES: Final = f"""
    SELECT c.*, w.read_seq FROM chats c
    JOIN chat_members w ON w.chat_id = c.id AND w.user_id = c.user_{{side}}
    WHERE c.user_{{side}} = reader.user_id AND c.user_lo < c.user_hi
        AND (c.{{side}}_unread OR c.sweep_at IS NOT NULL)
        AND c.{{side}}_box IN ({Box.UNDECIDED}, {Box.INBOX}, {Box.PINNED})
        AND NOT {IS_BLOCKED.format(chat="c")}
        AND coalesce(c.last_to_{{side}}, c.last_seq) > w.read_seq
        AND coalesce(w.muted_until <= now(), true)
    LIMIT {MOST_CHATS}
"""
_COUNT: Final = count_messages(chat="c", user="reader.user_id", after="c.read_seq", up_to="c.last_seq")
TOTALS: Final = f"""
    SELECT reader.user_id, coalesce(sum(unread.messages), 0)::bigint AS total, count(*) AS chats
    FROM unnest(CAST(:users AS uuid[])) AS reader (user_id)
    CROSS JOIN LATERAL (
        ({_CANDIDATES.format(side="lo")}) UNION ALL ({_CANDIDATES.format(side="hi")}) LIMIT {MOST_CHATS}
    ) c
    CROSS JOIN {_COUNT} unread
    WHERE unread.messages > 0
    GROUP BY reader.user_id
"""
"""SQL: how many messages the `:users` have not read, and in how many chats. Those without any have no row.

Only chats in the inbox count, and none that is muted or blocked.
"""


def remove_marks(read: str) -> str:
    """Return SQL that removes the marks of members who have read all. Chats that others have locked stay.

    `read` names a CTE of the same statement: `chat_id`, `user_id` and `read_seq` of members.
    """
    return f"""
        UPDATE chats c
        SET lo_unread = c.lo_unread AND NOT marked.lo_read, hi_unread = c.hi_unread AND NOT marked.hi_read
        FROM (
            SELECT id, bool_or(is_lo) AS lo_read, bool_or(is_hi) AS hi_read
            FROM (
                SELECT c.id, r.user_id = c.user_lo AS is_lo, r.user_id = c.user_hi AS is_hi
                FROM {read} r JOIN chats c ON c.id = r.chat_id
                WHERE CASE r.user_id
                    WHEN c.user_lo THEN c.lo_unread AND coalesce(c.last_to_lo, c.last_seq) <= r.read_seq
                    ELSE c.hi_unread AND coalesce(c.last_to_hi, c.last_seq) <= r.read_seq
                END
                ORDER BY c.id
                FOR NO KEY UPDATE OF c SKIP LOCKED
            ) held
            GROUP BY id
        ) marked
        WHERE c.id = marked.id
    """
