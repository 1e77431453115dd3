"""Notes every Monday how many messages each user has received in the week before, for the team's mailer."""

from uuid import UUID

from sqlalchemy import text

from functions.jobs import Context, Pacer, Summary, job

USERS = text("SELECT id FROM profiles WHERE id > :after AND deleted_at IS NULL ORDER BY id LIMIT 500")
COUNTS = """
    SELECT date_trunc('week', now() - interval '7 days', 'Europe/Berlin') AS week,
        m.recipient_id AS user_id, count(*) AS messages
    FROM unnest(CAST(:users AS uuid[])) AS users (id)
    JOIN chats c ON users.id IN (c.user_lo, c.user_hi)
    JOIN messages m ON m.chat_id = c.id AND m.recipient_id = users.id AND m.sender_id <> users.id
    WHERE m.created_at >= date_trunc('week', now() - interval '7 days', 'Europe/Berlin')
        AND m.created_at < date_trunc('week', now(), 'Europe/Berlin')
    GROUP BY m.recipient_id
"""
NOTE = text(f"INSERT INTO team.weekly_digest {COUNTS} ON CONFLICT DO NOTHING RETURNING user_id")


@job("weekly_digest", cron="0 9 * * 1", zone="Europe/Berlin")
def weekly_digest(context: Context, pacer: Pacer, dry_run: bool) -> Summary:
    """Note how many messages each user has received last week."""
    digests, after = 0, UUID(int=0)
    while not pacer.out_of_time:
        with context.engine.begin() as conn:
            users = conn.execute(USERS, {"after": after}).scalars().all()
            if not users:
                break
            digests += len(conn.execute(text(COUNTS) if dry_run else NOTE, {"users": users}).all())
        after = users[-1]
        pacer.pause()
    return {"digests": digests}
