"""Has notifications replaced whose messages were taken back, or erased."""

from typing import Final

from sqlalchemy import text

REOPEN_NOTIFICATIONS: Final = text(
    """
    WITH told AS MATERIALIZED (
        SELECT id FROM notifications
        WHERE (finished_at IS NULL OR sent_to <> '{}') AND id = ANY(ARRAY(
            SELECT n.id
            FROM unnest(CAST(:chats AS uuid[]), CAST(:seqs AS bigint[])) AS unsent (chat_id, seq)
            JOIN messages m ON m.chat_id = unsent.chat_id AND m.seq = unsent.seq
            JOIN chat_members w
                ON w.chat_id = m.chat_id AND w.user_id = m.recipient_id AND w.read_seq < m.seq
            JOIN notifications n
                ON n.user_id = m.recipient_id AND n.created_at > m.created_at - interval '1 hour'
            WHERE EXISTS (
                SELECT FROM unnest(n.chat_ids, n.first_seqs, n.last_seqs) AS span (chat_id, first, last)
                WHERE span.chat_id = m.chat_id AND m.seq BETWEEN span.first AND span.last
            )
        ))
        ORDER BY id
        FOR NO KEY UPDATE
    )
    UPDATE notifications n
    SET unsent_at = clock_timestamp(), to_replace = sent_to,
        outcome = CASE WHEN finished_at IS NULL THEN outcome ELSE 'sent' END,
        tries = CASE WHEN finished_at IS NULL THEN tries ELSE 0 END,
        next_at = CASE WHEN finished_at IS NULL THEN next_at ELSE now() END,
        finished_at = NULL
    FROM told
    WHERE n.id = told.id
    """
)
"""Has notifications replaced that tell of messages which their recipients have not read.

Those that nobody has sent yet are marked too: a worker may have read the texts, and be about to send them.
The hour is for the transaction that made a notification: it may have begun before the message was sent.
"""
