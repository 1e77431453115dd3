"""A database as Supabase makes it: roles, default privileges, `auth` schema.

The SQL files beside this one name the source of each rule. Tests connect as `postgres`, which is what a
project's owner gets: it is no superuser, and does not own `auth`.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import make_url

from tests.harness.engines import Engines, Store

_HERE = Path(__file__).parent
PASSWORD: Final = "password-of-the-tests"
"""Of all roles that may connect."""
_LOGINS: Final = ("postgres", "supabase_admin", "supabase_auth_admin", "authenticator")

_EVERYTHING = "GRANT ALL ON {kind} TO postgres, anon, authenticated, service_role"
_API_ROLES = "GRANT ALL ON {kind} TO anon, authenticated, service_role"
PRIVILEGES: Final = {
    # migrations/db/init-scripts/00000000000000-initial-schema.sql of github.com/supabase/postgres
    "classic": "ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA public " + _EVERYTHING,
    # The same without a schema, as some projects have it: it includes the chat's schema.
    "everywhere": "ALTER DEFAULT PRIVILEGES FOR ROLE {role} " + _API_ROLES,
    # supabase.com/changelog/45329: new tables are not exposed any more (default since May 2026).
    "new": "",
}
"""Default privileges of a project's tables, functions and sequences."""


def _script(name: str) -> str:
    return (_HERE / f"supabase_{name}.sql").read_text()


class SupabaseProject:
    """The database of one project, and who may do what in it."""

    def __init__(self, engines: Engines, *, privileges: str = "classic") -> None:
        empty = engines.new_store(migrated=False)
        self._superuser_url = make_url(empty.database_url)
        kinds = ["TABLES", "FUNCTIONS", "SEQUENCES", *(["SCHEMAS"] if privileges == "everywhere" else [])]
        statements = [
            _script("roles"),
            *(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'" for role in _LOGINS),
            _script("database").replace(":database", str(self._superuser_url.database)),
            *(
                PRIVILEGES[privileges].format(role=role, kind=kind)
                for role in ("postgres", "supabase_admin")
                for kind in kinds
            ),
        ]
        self.superuser(";\n".join(statements))
        self.store = Store(self.url_of("postgres"), empty.redis_url)

    @property
    def database_url(self) -> str:
        """Address of the database for its user `postgres`."""
        return self.store.database_url

    def url_of(self, role: str, password: str = PASSWORD) -> str:
        """Address of the database for another role."""
        url = self._superuser_url.set(username=role, password=password)
        return url.render_as_string(hide_password=False)

    def start_app(self) -> None:
        """Make the tables, policies and triggers of Supabase's quick-start."""
        self.rows(_script("starter"))

    def add_clashing_tables(self) -> None:
        """Make tables whose names the chat uses as well."""
        self.rows(_script("clashing"))

    def sign_up(
        self,
        username: str | None = None,
        *,
        user_id: uuid.UUID | None = None,
        meta: Mapping[str, str] | None = None,
    ) -> uuid.UUID:
        """Add a user as Supabase Auth does; choose a name in the quick-start's table as its app does."""
        user_id = user_id or uuid.uuid4()
        self.as_auth(
            "INSERT INTO auth.users (id, aud, role, email, raw_user_meta_data, created_at)"
            " VALUES (%(id)s, 'authenticated', 'authenticated', %(email)s, %(meta)s, now())",
            id=user_id,
            email=f"{user_id}@example.com",
            meta=json.dumps(meta or {}),
        )
        if username is not None:
            self.api("UPDATE public.profiles SET username = %(n)s WHERE id = auth.uid()", user_id, n=username)
        return user_id

    def delete_user(self, user_id: uuid.UUID) -> None:
        """Delete a user as Supabase Auth does."""
        self.as_auth("DELETE FROM auth.users WHERE id = %(id)s", id=user_id)

    def rows(self, sql: str, **params: object) -> list[Any]:
        """Run SQL as `postgres`, as the SQL editor does; return the rows of its last statement."""
        return _run(self.database_url, sql, params)

    def as_auth(self, sql: str, **params: object) -> list[Any]:
        """Run SQL as Supabase Auth."""
        return _run(self.url_of("supabase_auth_admin"), sql, params)

    def superuser(self, sql: str, **params: object) -> list[Any]:
        """Run SQL as a superuser."""
        return _run(self._superuser_url.render_as_string(hide_password=False), sql, params)

    def api(
        self,
        sql: str,
        user_id: uuid.UUID | None = None,
        *,
        role: str = "authenticated",
        schema: str = "bbgram",
        **params: object,
    ) -> list[Any]:
        """Run SQL as PostgREST does for a user (docs.postgrest.org, "Transaction-scoped settings")."""
        claims = {"role": role, "aud": role, **({"sub": str(user_id)} if user_id else {})}
        with _connect(self.url_of("authenticator")) as conn, conn.transaction():
            conn.execute(
                "SELECT set_config('search_path', %s, true) AS path, set_config('role', %s, true) AS role,"
                " set_config('request.jwt.claims', %s, true) AS claims",
                (f'"{schema}", public, extensions', role, json.dumps(claims)),
            )
            return _execute(conn, sql, params)

    @contextmanager
    def session(self, role: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """Open a connection with a transaction, which is rolled back at the end."""
        with _connect(self.url_of(role)) as conn, conn.transaction(force_rollback=True):
            yield conn


def _run(url: str, sql: str, params: dict[str, object]) -> list[Any]:
    with _connect(url) as conn:
        return _execute(conn, sql, params)


def _connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True, row_factory=namedtuple_row
    )


def _execute(conn: psycopg.Connection[Any], sql: str, params: dict[str, object]) -> list[Any]:
    cursor = conn.execute(sql, params or None)
    while cursor.nextset():
        pass
    return cursor.fetchall() if cursor.description else []
