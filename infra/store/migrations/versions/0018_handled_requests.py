"""Remembers which requests have changed a chat or settings, so that a late repetition undoes nothing."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the columns, without rewriting a table."""
    op.execute("ALTER TABLE chats ADD COLUMN handled uuid[]; ALTER TABLE profiles ADD COLUMN handled uuid[]")


def downgrade() -> None:
    """Remove them."""
    op.execute("ALTER TABLE chats DROP COLUMN handled; ALTER TABLE profiles DROP COLUMN handled")
