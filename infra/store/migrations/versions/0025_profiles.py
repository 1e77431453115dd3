"""Keeps users' names besides their usernames, avatars and data of the app, and which renames were refused."""

from alembic import op

revision = "0025"
down_revision = "0024"

_KEEP_TOMBSTONE = """
CREATE OR REPLACE FUNCTION profiles_keep_tombstone() RETURNS trigger LANGUAGE plpgsql <path> AS $$
BEGIN
    DELETE FROM devices WHERE user_id = OLD.id;
    DELETE FROM notifications WHERE user_id = OLD.id;
    DELETE FROM undelivered WHERE user_id = OLD.id;
    DELETE FROM chats WHERE user_lo = OLD.id AND user_hi = OLD.id;
    DELETE FROM refused_names WHERE user_id = OLD.id;<more>
    PERFORM take_name(OLD.id);
    RETURN NULL;
END
$$
"""
_FORGET = """
    UPDATE profiles SET display_name = NULL, avatar_url = NULL, data = NULL WHERE id = OLD.id;"""


def upgrade() -> None:
    """Add the columns, without rewriting the table. Who is deleted loses what is in them."""
    op.execute(
        "ALTER TABLE profiles ADD COLUMN display_name text, ADD COLUMN avatar_url text, ADD COLUMN data text,"
        " ADD COLUMN refused uuid[]"
    )
    _keep_tombstone(_FORGET)


def downgrade() -> None:
    """Remove them."""
    _keep_tombstone("")
    op.execute(
        "ALTER TABLE profiles DROP COLUMN display_name, DROP COLUMN avatar_url, DROP COLUMN data,"
        " DROP COLUMN refused"
    )


def _keep_tombstone(more: str) -> None:
    path = f'SET search_path = "{op.get_context().version_table_schema}", pg_temp'
    sql = _KEEP_TOMBSTONE.replace("<path>", path).replace("<more>", more)
    op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})
