"""Lets the chats of a user be read in portions, in the order of their ids.

The new index does everything that the old one did.
"""

from alembic import op

revision = "0008"
down_revision = "0005"


def upgrade() -> None:
    """Replace the index."""
    op.execute("CREATE INDEX chat_members_user_chat ON chat_members (user_id, chat_id)")
    op.execute("DROP INDEX chat_members_user")


def downgrade() -> None:
    """Bring the old index back."""
    op.execute("CREATE INDEX chat_members_user ON chat_members (user_id)")
    op.execute("DROP INDEX chat_members_user_chat")
