"""Links the chat to the users of a Supabase project, where the database is one."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text

from infra.store.access import close, objects
from infra.store.boxes import Box

_SQL: Final = Path(__file__).with_suffix(".sql").read_text()
_VERSION: Final = sha256(_SQL.encode()).hexdigest()[:12]
_TRIGGERS: Final = ("{}_delete_profile", "profiles_require_user_new", "profiles_require_user_revived")
_POLICIES: Final = (
    "members_read_chats",
    "members_read_watermarks",
    "members_read_messages",
    "users_read_peers",
)
_CALLED_BY_POLICIES: Final = "reader_id(), people_of_reader(), cleared_of_reader()"

_STATE = text(
    """
    SELECT
        to_regrole('authenticated') IS NOT NULL AND EXISTS (
            SELECT FROM pg_class WHERE relname = 'users' AND relnamespace = to_regnamespace('auth')
        ) AS is_project,
        (
            SELECT count(*) FROM pg_trigger
            WHERE tgname = ANY(:triggers) AND tgenabled <> 'D'
                AND tgfoid IN (SELECT oid FROM pg_proc WHERE pronamespace = to_regnamespace(:schema))
        ) AS triggers,
        (
            SELECT count(*) FROM pg_policy JOIN pg_class c ON c.oid = polrelid AND relrowsecurity
            WHERE polname = ANY(:policies) AND relnamespace = to_regnamespace(:schema)
        ) AS policies,
        obj_description(to_regprocedure(:schema || '.reader_id()'), 'pg_proc') AS version
    """
)
_MAY = text(
    """
    SELECT quote_ident(role) AS role, has_schema_privilege(role, 'auth', 'USAGE')
        AND has_table_privilege(role, pg_class.oid, 'SELECT')
        AND has_table_privilege(role, pg_class.oid, 'TRIGGER')
        AND (NOT relrowsecurity OR rolbypassrls OR rolsuper) AS may, relrowsecurity AS hides_rows
    FROM pg_class CROSS JOIN pg_roles CROSS JOIN LATERAL CAST(rolname AS text) AS role
    WHERE relname = 'users' AND relnamespace = to_regnamespace('auth')
        AND rolname IN (current_user, 'postgres')
    ORDER BY rolname = current_user DESC
    """
)


def link(conn: Connection, schema: str) -> list[str]:
    """Tie profiles to `auth.users` and let users read their own chats, unless that is done or impossible.

    Returns what an operator should know, a line each.
    """
    if not is_unlinked(conn, schema):
        return []
    us, *postgres = conn.execute(_MAY).all()
    if not us.may:
        return [
            "the users of the Supabase project are not linked: " + _advice(us, any(it.may for it in postgres))
        ]
    parts = {
        "schema": schema,
        "version": _VERSION,
        "first": str(UUID(int=0)),
        "last": str(UUID(int=2**128 - 1)),
        "unseen": str(int(Box.UNSEEN)),
    }
    sql = re.sub(r"<(\w+)>", lambda match: parts[match[1]], _SQL)
    before = objects(conn, schema)
    conn.exec_driver_sql(sql, execution_options={"no_parameters": True})
    close(conn, objects(conn, schema) - before)
    conn.exec_driver_sql(f"GRANT EXECUTE ON FUNCTION {_CALLED_BY_POLICIES} TO authenticated")
    return [
        "linked the users of the Supabase project; signed-in users can read their own chats through its API"
    ]


def is_unlinked(conn: Connection, schema: str) -> bool:
    """Return whether the database is a Supabase project that lacks any part of the link of this release.

    A restored backup may have lost the trigger on `auth.users`, for example.
    """
    triggers = [name.format(schema)[:63] for name in _TRIGGERS]
    names = {"schema": f'"{schema}"', "triggers": triggers, "policies": list(_POLICIES)}
    state = conn.execute(_STATE, names).one()
    found = (state.triggers, state.policies, state.version)
    return bool(state.is_project) and found != (len(_TRIGGERS), len(_POLICIES), _VERSION)


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
