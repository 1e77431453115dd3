"""The newest message to each member of a chat: where it is delivered, nobody looks for undelivered ones."""

from alembic import op

revision = "0003"
down_revision = "0002"

_UP = """
ALTER TABLE chats ADD COLUMN last_to_lo bigint NOT NULL DEFAULT 0;
ALTER TABLE chats ADD COLUMN last_to_hi bigint NOT NULL DEFAULT 0;
UPDATE chats SET last_to_lo = last_seq, last_to_hi = last_seq WHERE last_seq > 0;
"""
"""Too high does no harm: it costs a look at the messages until the next one is sent."""


def upgrade() -> None:
    """Add the columns. Stop the workers before: older ones do not keep them up to date."""
    op.execute(_UP)


def downgrade() -> None:
    """Drop the columns."""
    op.execute("ALTER TABLE chats DROP COLUMN last_to_lo, DROP COLUMN last_to_hi")
