"""Numbers the messages to each member, so that counting them costs the same for any number.

Nothing is numbered yet: `cleanup` does that. Where something else stored messages last, such as a worker of
the previous release, `to_lo` and `to_hi` are not `last_seq` together; then the chat counts as not numbered.
"""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns, without rewriting the tables."""
    op.execute(
        """
        ALTER TABLE chats
            ADD COLUMN to_lo bigint NOT NULL DEFAULT 0,
            ADD COLUMN to_hi bigint NOT NULL DEFAULT 0,
            ADD COLUMN numbered_after bigint NOT NULL DEFAULT 0
        """
    )
    op.execute("ALTER TABLE messages ADD COLUMN to_lo bigint")


def downgrade() -> None:
    """Drop the columns."""
    op.execute("ALTER TABLE messages DROP COLUMN to_lo")
    op.execute("ALTER TABLE chats DROP COLUMN to_lo, DROP COLUMN to_hi, DROP COLUMN numbered_after")
