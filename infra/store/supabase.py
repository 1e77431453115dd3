"""Links the chat to the users of a Supabase project, where the database is one."""

from pathlib import Path

from sqlalchemy import Connection, text

_SQL = Path(__file__).with_suffix(".sql").read_text()

_STATE = text(
    """
    SELECT
        (SELECT c.oid FROM pg_class c WHERE c.relname = 'users' AND c.relnamespace = to_regnamespace('auth'))
            AS users,
        to_regrole('authenticated') IS NOT NULL AS has_api,
        EXISTS (
            SELECT FROM pg_policy WHERE polrelid = to_regclass('profiles') AND polname = 'users_read_peers'
        ) AS is_linked
    """
)
_MAY = text(
    """
    SELECT has_schema_privilege('auth', 'USAGE') AND has_table_privilege(CAST(:users AS oid), 'SELECT')
        AND has_table_privilege(CAST(:users AS oid), 'TRIGGER')
    """
)


def link(conn: Connection, schema: str) -> list[str]:
    """Tie profiles to `auth.users` and let users read their own chats, unless that is done or impossible.

    Returns what an operator should know, a line each.
    """
    state = conn.execute(_STATE).one()
    if state.is_linked or state.users is None or not state.has_api:
        return []
    if not conn.execute(_MAY, {"users": state.users}).scalar():
        role = conn.exec_driver_sql("SELECT quote_ident(current_user)").scalar()
        return [
            "the users of the Supabase project are not linked: run, as its user postgres, "
            f"`GRANT USAGE ON SCHEMA auth TO {role}; GRANT SELECT, TRIGGER ON auth.users TO {role};`, "
            "then `bbgram migrate` again"
        ]
    conn.exec_driver_sql(_SQL.replace("<schema>", schema), execution_options={"no_parameters": True})
    return [
        "linked the users of the Supabase project; signed-in users can read their own chats through its API"
    ]
