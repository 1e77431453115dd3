"""Counts stored messages to a member of a chat, at the same cost for any number of them.

Each message says how many messages have gone to `user_lo` up to it; the others have gone to `user_hi`. So two
messages tell how many there are between them, provided that all of these are stored. That holds behind
`numbered_after`: messages are stored there by workers alone, and deleted from the oldest on. Up to
`numbered_after`, messages have no numbers yet, were restored, or are missing; they are counted one by one.
"""

from typing import Final

NUMBERED_AFTER: Final = """
    CASE {chat}.to_lo + {chat}.to_hi
        WHEN {chat}.last_seq THEN {chat}.numbered_after ELSE {chat}.last_seq
    END
"""
"""SQL: the seq behind which all messages of a chat are numbered. `{chat}` is a row of `chats`."""

_COUNT: Final = """
    LATERAL (
        SELECT CASE WHEN {chat}.user_lo < {chat}.user_hi THEN one_by_one.messages + coalesce(
            CASE {user}
                WHEN {chat}.user_lo THEN newest.to_lo - oldest.to_lo
                ELSE (newest.seq - newest.to_lo) - (oldest.seq - oldest.to_lo)
            END + CAST(oldest.recipient_id = {user} AS int),
            0
        ) ELSE 0 END AS messages
        FROM (SELECT {numbered_after} AS seq) numbered_after
        CROSS JOIN LATERAL (
            SELECT count(*) AS messages FROM messages
            WHERE chat_id = {chat}.id AND seq > {after} AND seq <= least({up_to}, numbered_after.seq)
                AND recipient_id = {user}
        ) one_by_one
        LEFT JOIN LATERAL (
            SELECT seq, to_lo, recipient_id FROM messages
            WHERE chat_id = {chat}.id AND seq > greatest({after}, numbered_after.seq) AND seq <= {up_to}
            ORDER BY seq LIMIT 1
        ) oldest ON true
        LEFT JOIN LATERAL (
            SELECT seq, to_lo FROM messages
            WHERE chat_id = {chat}.id AND seq >= oldest.seq AND seq <= {up_to}
            ORDER BY seq DESC LIMIT 1
        ) newest ON true
    )
"""


def count_messages(chat: str, user: str, after: str, up_to: str) -> str:
    """Return SQL to join that counts the messages to a user between two seqs, as `messages`.

    `chat` names a row of `chats`; the others are expressions: a member of it, the seq after which to count
    and the seq up to which. Notes to self are not counted.
    """
    numbered_after = NUMBERED_AFTER.format(chat=chat)
    return _COUNT.format(chat=chat, user=user, after=after, up_to=up_to, numbered_after=numbered_after)


def note_holes(gone: str) -> str:
    """Return SQL that raises `numbered_after` where messages are deleted although older ones stay.

    `gone` names a CTE of the same statement: `chat_id` and `seq` of what is deleted.
    """
    return f"""
        UPDATE chats c SET numbered_after = deleted.last
        FROM (SELECT chat_id, max(seq) AS last, count(*) AS messages FROM {gone} GROUP BY chat_id) deleted
        WHERE c.id = deleted.chat_id AND c.numbered_after < deleted.last AND deleted.messages < (
            SELECT count(*) FROM messages m WHERE m.chat_id = c.id AND m.seq <= deleted.last
        )
    """
