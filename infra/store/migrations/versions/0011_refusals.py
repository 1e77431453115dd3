"""Remembers which devices have refused a notification, so that they are not asked again."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column, without rewriting the table."""
    op.execute("ALTER TABLE notifications ADD COLUMN refused_by uuid[] NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    """Remove the column."""
    op.execute("ALTER TABLE notifications DROP COLUMN refused_by")
