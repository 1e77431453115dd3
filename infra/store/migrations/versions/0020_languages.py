"""Keeps the language of a device, in which it is notified."""

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add the column, without rewriting the table."""
    op.execute("ALTER TABLE devices ADD COLUMN language text")


def downgrade() -> None:
    """Remove it."""
    op.execute("ALTER TABLE devices DROP COLUMN language")
