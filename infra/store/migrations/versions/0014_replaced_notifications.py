"""Lets a notification that was sent be replaced once a message that it tells of is unsent."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add two columns, without rewriting the table."""
    op.execute(
        """
        ALTER TABLE notifications
            ADD COLUMN unsent_at timestamptz,
            ADD COLUMN to_replace uuid[] NOT NULL DEFAULT '{}'
        """
    )


def downgrade() -> None:
    """Remove what was added."""
    op.execute("ALTER TABLE notifications DROP COLUMN unsent_at, DROP COLUMN to_replace")
