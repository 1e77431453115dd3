"""Lets a page of a user's chats be read by an index, which the messages of a busy chat do not change.

A trigger keeps the rule for whoever does not know it: a chat that is not behind is listed at its activity.
"""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns and indexes, without rewriting the table. `cleanup` places existing chats."""
    op.execute(
        """
        ALTER TABLE chats
            ADD COLUMN listed_at timestamptz NOT NULL DEFAULT '-infinity',
            ADD COLUMN is_behind boolean NOT NULL DEFAULT true;
        ALTER TABLE chats ALTER COLUMN listed_at SET DEFAULT now(), ALTER COLUMN is_behind SET DEFAULT false;
        CREATE INDEX chats_of_lo ON chats (user_lo, is_behind, listed_at, id);
        CREATE INDEX chats_of_hi ON chats (user_hi, is_behind, listed_at, id);
        DROP INDEX chats_user_hi
        """
    )
    path = f'"{op.get_context().version_table_schema}", pg_temp'
    op.execute(
        f"""
        CREATE FUNCTION chats_list() RETURNS trigger LANGUAGE plpgsql SET search_path = {path} AS $$
        BEGIN
            NEW.listed_at := NEW.activity_at;
            RETURN NEW;
        END
        $$;
        CREATE TRIGGER chats_list BEFORE INSERT OR UPDATE ON chats FOR EACH ROW
        WHEN (NOT NEW.is_behind AND NEW.listed_at <> NEW.activity_at) EXECUTE FUNCTION chats_list()
        """
    )


def downgrade() -> None:
    """Bring the old index back."""
    op.execute(
        """
        CREATE INDEX chats_user_hi ON chats (user_hi);
        DROP TRIGGER chats_list ON chats;
        DROP FUNCTION chats_list;
        ALTER TABLE chats DROP COLUMN listed_at, DROP COLUMN is_behind
        """
    )
