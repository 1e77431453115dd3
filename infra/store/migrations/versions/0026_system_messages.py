"""Messages of the system: which they are, and how many of a chat."""

from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Add the columns, without rewriting the tables."""
    op.execute("ALTER TABLE messages ADD COLUMN kind text")
    op.execute(
        """
        ALTER TABLE chats ADD COLUMN system_messages bigint, ADD COLUMN system_to_lo bigint,
            ADD COLUMN system_to_hi bigint
        """
    )


def downgrade() -> None:
    """Remove the columns."""
    op.execute("ALTER TABLE messages DROP COLUMN kind")
    op.execute(
        """
        ALTER TABLE chats DROP COLUMN system_messages, DROP COLUMN system_to_lo,
            DROP COLUMN system_to_hi
        """
    )
