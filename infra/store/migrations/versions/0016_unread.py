"""Marks chats with unread messages, so that a user's are counted without looking at the others.

Chats that exist are marked, and so are those that workers of the previous release insert or sweep: a mark
too many costs time and changes no count. The cleanup removes them.

Tells the planner that users have some chats, too. If most have one, it would take any index that begins with
a user, filter and sort: a page of chats would cost as much as its user has chats.
"""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the marks, without rewriting the table, and indexes of marked chats."""
    op.execute(
        """
        ALTER TABLE chats
            ADD COLUMN lo_unread boolean NOT NULL DEFAULT true,
            ADD COLUMN hi_unread boolean NOT NULL DEFAULT true;
        ALTER TABLE chats ALTER user_lo SET (n_distinct = -0.3), ALTER user_hi SET (n_distinct = -0.3);
        CREATE INDEX chats_unread_lo ON chats (user_lo) WHERE lo_unread OR sweep_at IS NOT NULL;
        CREATE INDEX chats_unread_hi ON chats (user_hi) WHERE hi_unread OR sweep_at IS NOT NULL
        """
    )


def downgrade() -> None:
    """Remove what was added."""
    op.execute(
        """
        ALTER TABLE chats DROP COLUMN lo_unread, DROP COLUMN hi_unread;
        ALTER TABLE chats ALTER user_lo RESET (n_distinct), ALTER user_hi RESET (n_distinct)
        """
    )
