"""Reports of messages, each with a copy of what was reported."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the table. It refers to no other one: evidence outlives chats and users.

    The copies are `json`, not `jsonb`, which refuses some of what messages may hold.
    """
    op.execute(
        """
        CREATE TABLE reports (
            id uuid PRIMARY KEY,
            reporter_id uuid NOT NULL,
            reported_id uuid NOT NULL,
            chat_id uuid NOT NULL,
            seq bigint NOT NULL,
            reason text NOT NULL,
            note text,
            messages json NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            closed_at timestamptz,
            UNIQUE (reporter_id, chat_id, seq)
        );
        CREATE INDEX reports_age ON reports (created_at);
        CREATE INDEX reports_reporter ON reports (reporter_id, created_at)
        """
    )


def downgrade() -> None:
    """Remove the table."""
    op.execute("DROP TABLE reports")
