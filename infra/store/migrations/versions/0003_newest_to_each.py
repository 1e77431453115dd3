"""Stores the newest seq sent to each member. Once that message is delivered, nothing is undelivered.

Workers of the previous release do not know the columns. A trigger sets them to NULL (unknown) for what those
workers store, so that they can run beside new ones. Migration 0005 drops it.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

_COLUMNS = """
ALTER TABLE chats ADD COLUMN last_to_lo bigint, ADD COLUMN last_to_hi bigint;
ALTER TABLE chats ALTER COLUMN last_to_lo SET DEFAULT 0, ALTER COLUMN last_to_hi SET DEFAULT 0;
"""

TRIGGER = """
CREATE FUNCTION chats_forget_last_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.last_to_lo := NULL;
    NEW.last_to_hi := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER chats_forget_last_to BEFORE UPDATE OF last_seq ON chats FOR EACH ROW
WHEN (
    NEW.last_seq > OLD.last_seq
    AND NEW.last_to_lo IS NOT DISTINCT FROM OLD.last_to_lo
    AND NEW.last_to_hi IS NOT DISTINCT FROM OLD.last_to_hi
)
EXECUTE FUNCTION chats_forget_last_to();
"""


def upgrade() -> None:
    """Add the columns, NULL for existing chats, and the trigger."""
    op.execute(_COLUMNS)
    op.execute(TRIGGER)


def downgrade() -> None:
    """Drop the trigger and the columns."""
    op.execute("DROP TRIGGER chats_forget_last_to ON chats")
    op.execute("DROP FUNCTION chats_forget_last_to")
    op.execute("ALTER TABLE chats DROP COLUMN last_to_lo, DROP COLUMN last_to_hi")
