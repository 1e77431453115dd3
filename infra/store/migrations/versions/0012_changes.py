"""Lets messages change after they were sent: edits, reactions, messages taken back; and clears chats."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the columns, without rewriting a table, and a table for what has changed."""
    op.execute(
        """
        ALTER TABLE chats ADD COLUMN change bigint NOT NULL DEFAULT 0, ADD COLUMN changed_at timestamptz;
        CREATE INDEX chats_changed_lo ON chats (user_lo, changed_at) WHERE changed_at IS NOT NULL;
        CREATE INDEX chats_changed_hi ON chats (user_hi, changed_at) WHERE changed_at IS NOT NULL;
        ALTER TABLE chat_members ADD COLUMN cleared_seq bigint NOT NULL DEFAULT 0;
        ALTER TABLE messages
            ADD COLUMN data text,
            ADD COLUMN reply_to bigint,
            ADD COLUMN change bigint,
            ADD COLUMN edited_at timestamptz,
            ADD COLUMN deleted_at timestamptz,
            ADD COLUMN reactions jsonb;
        CREATE TABLE changed_messages (
            chat_id uuid NOT NULL,
            seq bigint NOT NULL,
            change bigint NOT NULL,
            changed_at timestamptz NOT NULL,
            client_ids text[] NOT NULL DEFAULT '{}',
            PRIMARY KEY (chat_id, seq),
            UNIQUE (chat_id, change),
            FOREIGN KEY (chat_id, seq) REFERENCES messages ON DELETE CASCADE
        )
        """
    )


def downgrade() -> None:
    """Remove what was added."""
    op.execute(
        """
        DROP TABLE changed_messages;
        ALTER TABLE messages
            DROP COLUMN data, DROP COLUMN reply_to, DROP COLUMN change, DROP COLUMN edited_at,
            DROP COLUMN deleted_at, DROP COLUMN reactions;
        ALTER TABLE chat_members DROP COLUMN cleared_seq;
        ALTER TABLE chats DROP COLUMN change, DROP COLUMN changed_at
        """
    )
