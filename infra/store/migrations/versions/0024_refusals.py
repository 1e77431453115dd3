"""Remembers what blocks have refused, so that it is not let through if it comes again."""

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Add the column, without rewriting the table."""
    op.execute("ALTER TABLE chats ADD COLUMN refused uuid[]")


def downgrade() -> None:
    """Remove the column."""
    op.execute("ALTER TABLE chats DROP COLUMN refused")
