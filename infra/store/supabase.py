"""Links the chat to the users of a Supabase project, where the database is one."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, text

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
    SELECT quote_ident(role) AS role, has_schema_privilege(role, 'auth', 'USAGE')
        AND has_table_privilege(role, CAST(:users AS oid), 'SELECT')
        AND has_table_privilege(role, CAST(:users AS oid), 'TRIGGER')
        AND (NOT relrowsecurity OR rolbypassrls OR rolsuper) AS may, relrowsecurity AS hides_rows
    FROM pg_class CROSS JOIN pg_roles CROSS JOIN LATERAL CAST(rolname AS text) AS role
    WHERE pg_class.oid = CAST(:users AS oid) AND rolname IN (current_user, 'postgres')
    ORDER BY rolname = current_user DESC
    """
)


def link(conn: Connection, schema: str) -> list[str]:
    """Tie profiles to `auth.users` and let users read their own chats, unless that is done or impossible.

    Returns what an operator should know, a line each.
    """
    state = conn.execute(_STATE).one()
    if state.is_linked or state.users is None or not state.has_api:
        return []
    us, *postgres = conn.execute(_MAY, {"users": state.users}).all()
    if not us.may:
        return [
            "the users of the Supabase project are not linked: " + _advice(us, any(it.may for it in postgres))
        ]
    conn.exec_driver_sql(_SQL.replace("<schema>", schema), execution_options={"no_parameters": True})
    return [
        "linked the users of the Supabase project; signed-in users can read their own chats through its API"
    ]


def _advice(us: Row[Any], postgres_may: bool) -> str:
    role = us.role
    if postgres_may:
        return (
            f"run `GRANT {role} TO postgres` as the project's user postgres, "
            "then `bbgram migrate` once more, with the address of that user"
        )
    grants = f"GRANT USAGE ON SCHEMA auth TO {role}; GRANT SELECT, TRIGGER ON auth.users TO {role};"
    if us.hides_rows:
        grants += f" ALTER ROLE {role} BYPASSRLS;"
    return f"run `{grants}` as a superuser, then `bbgram migrate` once more"
