"""Lets users decide who may write to them (blocks, requests, settings), and mute, pin and archive chats.

Existing chats are open, and what workers of the previous release insert is open, too.
"""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the columns, without rewriting a table, and indexes in which the chats of a box are together."""
    op.execute(
        """
        ALTER TABLE profiles
            ADD COLUMN messages_from text NOT NULL DEFAULT 'everyone',
            ADD COLUMN read_receipts boolean NOT NULL DEFAULT true,
            ADD COLUMN show_presence text NOT NULL DEFAULT 'chats',
            ADD COLUMN push_texts boolean NOT NULL DEFAULT true;
        ALTER TABLE chat_members
            ADD COLUMN shown_delivered_seq bigint,
            ADD COLUMN shown_read_seq bigint,
            ADD COLUMN muted_until timestamptz;
        ALTER TABLE chats RENAME COLUMN changed_at TO lo_changed_at;
        ALTER TABLE chats
            ADD COLUMN hi_changed_at timestamptz,
            ADD COLUMN lo_box smallint NOT NULL DEFAULT 1,
            ADD COLUMN hi_box smallint NOT NULL DEFAULT 1,
            ADD COLUMN lo_blocked_at timestamptz,
            ADD COLUMN hi_blocked_at timestamptz;
        UPDATE chats SET hi_changed_at = lo_changed_at WHERE lo_changed_at IS NOT NULL;
        DROP INDEX chats_changed_hi;
        CREATE INDEX chats_changed_hi ON chats (user_hi, hi_changed_at) WHERE hi_changed_at IS NOT NULL;
        CREATE INDEX chats_blocked_lo ON chats (user_lo, lo_blocked_at, id) WHERE lo_blocked_at IS NOT NULL;
        CREATE INDEX chats_blocked_hi ON chats (user_hi, hi_blocked_at, id) WHERE hi_blocked_at IS NOT NULL;
        CREATE INDEX chats_box_lo ON chats (user_lo, lo_box, is_behind, listed_at, id);
        CREATE INDEX chats_box_hi ON chats (user_hi, hi_box, is_behind, listed_at, id);
        DROP INDEX chats_of_lo, chats_of_hi
        """
    )


def downgrade() -> None:
    """Remove what was added, and bring the old indexes back."""
    op.execute(
        """
        CREATE INDEX chats_of_lo ON chats (user_lo, is_behind, listed_at, id);
        CREATE INDEX chats_of_hi ON chats (user_hi, is_behind, listed_at, id);
        ALTER TABLE chats
            DROP COLUMN lo_box, DROP COLUMN hi_box, DROP COLUMN lo_blocked_at, DROP COLUMN hi_blocked_at,
            DROP COLUMN hi_changed_at;
        ALTER TABLE chats RENAME COLUMN lo_changed_at TO changed_at;
        CREATE INDEX chats_changed_hi ON chats (user_hi, changed_at) WHERE changed_at IS NOT NULL;
        ALTER TABLE chat_members
            DROP COLUMN shown_delivered_seq, DROP COLUMN shown_read_seq, DROP COLUMN muted_until;
        ALTER TABLE profiles
            DROP COLUMN messages_from, DROP COLUMN read_receipts, DROP COLUMN show_presence,
            DROP COLUMN push_texts
        """
    )
