"""`bbgram migrate` in a Supabase project: beside the app's tables, closed, and linked to its users."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import Connection, make_url

from infra.cli.doctor.services import postgres_finding
from infra.local.engines import Postgres
from infra.settings.store import StoreSettings
from infra.store import migrate
from infra.store.engine import make_engine
from infra.store.migrate import upgrade
from tests.harness.engines import free_port
from tests.harness.supabase import PASSWORD, PRIVILEGES, SupabaseProject
from tests.integration.deploy.conftest import Pooler, ProjectFactory

READABLE = {
    "profiles": ["id", "username", "display_name", "avatar_url", "data"],
    "chats": ["id", "user_lo", "user_hi", "last_seq", "activity_at", "change"],
    "chat_members": ["chat_id", "user_id", "delivered_seq", "read_seq"],
    "messages": [
        "chat_id", "seq", "id", "sender_id", "recipient_id", "text", "client_id", "created_at", "data",
        "reply_to", "change", "edited_at", "deleted_at", "reactions", "kind",
    ],
}  # fmt: skip
"""What signed-in users may read, as far as it is theirs: what the socket shows them as well."""

_GRANTS = """
    SELECT c.relname AS name, {grantee} AS grantee, g.privilege_type AS privilege
    FROM pg_class c
    CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) g
    WHERE c.relnamespace = 'bbgram'::regnamespace AND c.relkind NOT IN ('i', 'I', 'c')
        AND g.grantee <> c.relowner
    UNION ALL
    SELECT c.relname || '.' || a.attname, {grantee}, g.privilege_type
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid CROSS JOIN LATERAL aclexplode(a.attacl) g
    WHERE c.relnamespace = 'bbgram'::regnamespace
    UNION ALL
    SELECT p.proname || '()', {grantee}, g.privilege_type
    FROM pg_proc p CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
    WHERE p.pronamespace = 'bbgram'::regnamespace AND g.grantee <> p.proowner
    UNION ALL
    SELECT n.nspname, {grantee}, g.privilege_type
    FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) g
    WHERE n.nspname = 'bbgram' AND g.grantee <> n.nspowner
""".replace("{grantee}", "CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END")
"""Everything in the schema that anybody but its owner may do, whatever there is."""

_WITHOUT_ROW_SECURITY = """
    SELECT relname FROM pg_class
    WHERE relnamespace = 'bbgram'::regnamespace AND relkind IN ('r', 'p') AND NOT relrowsecurity
"""
Run = Callable[[str], list[Any]]


def grants(rows: Run) -> set[tuple[str, str, str]]:
    return {(row[0], row[1], row[2]) for row in rows(_GRANTS)}


OF_POLICIES = {"reader_id", "people_of_reader", "cleared_of_reader"}
"""Functions that the policies call. They return what the caller may know anyway."""
READS = {
    ("bbgram", "authenticated", "USAGE"),
    *((f"{table}.{column}", "authenticated", "SELECT") for table in READABLE for column in READABLE[table]),
    *((f"{name}()", "authenticated", "EXECUTE") for name in OF_POLICIES),
}


def contents(project: SupabaseProject) -> dict[str, list[str]]:
    """Return all rows, columns, policies and grants of the app's tables."""
    tables = project.rows(
        "SELECT c.oid::regclass::text AS name, c.relacl::text AS acl, c.relrowsecurity AS security,"
        " (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) AS policies"
        " FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')"
    )
    return {
        table.name: [str(table), *(str(row) for row in project.rows(f"SELECT * FROM {table.name}"))]
        for table in tables
    }


@pytest.mark.parametrize("privileges", PRIVILEGES)
@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
def test_it_runs_beside_the_tables_of_an_app_and_touches_none(
    make_project: ProjectFactory, pooler: Pooler, privileges: str, pooled: bool
) -> None:
    project = make_project(privileges)
    project.start_app()
    project.sign_up("zoe")
    project.add_clashing_tables()
    before = contents(project)
    assert before.keys() >= {"profiles", "messages", "devices", "notifications", "chats", "alembic_version"}
    address = pooler(project) if pooled else project.database_url
    assert [note.split()[0] for note in upgrade(address)] == ["linked"]
    assert upgrade(address) == []
    assert contents(project) == before
    assert project.rows("SELECT version_num FROM bbgram.alembic_version") == [
        (migrate._script().get_current_head(),)
    ]


CATALOGUES = (
    "namespace", "class", "attrdef", "constraint", "type", "proc", "rewrite", "trigger", "event_trigger",
    "policy", "default_acl", "publication", "publication_rel", "publication_namespace", "extension",
)  # fmt: skip
"""The catalogues of Postgres, without `pg_`, that say what there is in a database and who may do what."""

_ENTRIES = """
    SELECT 'pg_{name}', object.identity, (to_jsonb(entry) - CAST(%(statistics)s AS text[]))::text
    FROM pg_{name} entry CROSS JOIN LATERAL pg_identify_object('pg_{name}'::regclass, entry.oid, 0) object
    WHERE 'pg_{name}' ~ 'publication' OR object.identity !~ '(^| )(bbgram($|\\.)|pg_toast\\.)'
"""
_COLUMNS = """
    SELECT 'pg_attribute', object.identity, to_jsonb(entry)::text
    FROM pg_attribute entry
    CROSS JOIN LATERAL pg_identify_object('pg_class'::regclass, attrelid, attnum) object
    WHERE object.identity !~ '^(bbgram|pg_toast)\\.'
"""
_STATISTICS = ["relpages", "reltuples", "relallvisible", "relallfrozen", "relfrozenxid", "relminmxid"]
"""What autovacuum changes."""


def catalogue(project: SupabaseProject) -> set[tuple[str, str, str]]:
    """Return catalogue, identity and all attributes of everything that is not in the schema of the chat."""
    entries = " UNION ALL ".join(_ENTRIES.replace("{name}", name) for name in CATALOGUES)
    rows = project.superuser(f"{entries} UNION ALL {_COLUMNS}", statistics=_STATISTICS)
    return {(row[0], row[1], row[2]) for row in rows}


def test_it_puts_one_trigger_on_the_users_and_changes_nothing_else(make_project: ProjectFactory) -> None:
    project = make_project()
    project.start_app()
    before = catalogue(project)
    upgrade(project.database_url)
    after = catalogue(project)
    assert before - after == set()
    added = {(name, identity) for name, identity, _ in after - before}
    assert added == {("pg_trigger", "bbgram_delete_profile on auth.users")}


@pytest.mark.parametrize("privileges", PRIVILEGES)
def test_nothing_is_open_but_reads_of_some_columns_of_four_tables(
    make_project: ProjectFactory, privileges: str
) -> None:
    project = make_project(privileges)
    upgrade(project.database_url)
    assert grants(project.rows) == READS
    assert project.rows(_WITHOUT_ROW_SECURITY) == []


def test_nobody_sees_anything_while_it_works(
    make_project: ProjectFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project("everywhere")
    seen: list[object] = []
    for step in ("refresh_functions", "close", "link"):
        original = getattr(migrate, step)

        def look(conn: Connection, *rest: Any, original: Callable[..., Any] = original) -> Any:
            seen.append(project.rows("SELECT to_regnamespace('bbgram')")[0][0])
            return original(conn, *rest)

        monkeypatch.setattr(migrate, step, look)
    upgrade(project.database_url)
    assert len(seen) == 3
    assert set(seen) == {None}


def test_it_is_closed_where_the_roles_of_supabase_do_not_exist(tmp_path: Path) -> None:
    server = Postgres(tmp_path, free_port())
    server.prepare()
    server.start()
    server.wait_ready()
    try:
        with psycopg.connect(server.url, autocommit=True) as conn:
            conn.execute("CREATE ROLE somebody")
            for kind in ("TABLES", "FUNCTIONS", "SEQUENCES", "SCHEMAS"):
                conn.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO somebody, PUBLIC")
            assert upgrade(server.url.replace("postgresql:", "postgresql+psycopg:")) == []
            assert grants(lambda sql: conn.execute(sql).fetchall()) == set()
            assert conn.execute(_WITHOUT_ROW_SECURITY).fetchall() == []
    finally:
        server.stop()


LATER = """
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    op.execute("CREATE TABLE reactions (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
    op.execute("CREATE VIEW popular AS SELECT * FROM reactions")
    op.execute("CREATE FUNCTION react() RETURNS int LANGUAGE sql AS 'SELECT 1'")
"""


@pytest.mark.parametrize("privileges", PRIVILEGES)
def test_what_a_later_release_adds_is_closed_as_well(
    make_project: ProjectFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, privileges: str
) -> None:
    project = make_project(privileges)
    upgrade(project.database_url)
    later = tmp_path / "migrations"
    shutil.copytree(migrate._SCRIPTS, later)
    head = migrate._script().get_current_head()
    (later / "versions" / "9999_later.py").write_text(LATER.format(head=head))
    monkeypatch.setattr(migrate, "_SCRIPTS", later)
    upgrade(project.database_url)
    assert project.rows("SELECT to_regclass('bbgram.popular') IS NOT NULL") == [(True,)]
    assert grants(project.rows) == READS
    assert project.rows(_WITHOUT_ROW_SECURITY) == []


def test_what_an_operator_grants_stays_granted(make_project: ProjectFactory) -> None:
    project = make_project()
    upgrade(project.database_url)
    project.rows("GRANT SELECT ON bbgram.messages TO service_role")
    upgrade(project.database_url)
    assert grants(project.rows) == {*READS, ("messages", "service_role", "SELECT")}


@pytest.fixture
def owned_by_another(make_project: ProjectFactory) -> tuple[SupabaseProject, str]:
    """A project where the chat has a role of its own; and the address for that role."""
    project = make_project()
    role = f"chat_owner_{uuid.uuid4().hex[:8]}"
    project.rows(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; CREATE SCHEMA bbgram")
    project.rows(
        f"GRANT {role} TO postgres; ALTER SCHEMA bbgram OWNER TO {role}; REVOKE {role} FROM postgres"
    )
    return project, project.url_of(role)


def is_linked(project: SupabaseProject) -> bool:
    rows = project.rows("SELECT tgname FROM pg_trigger WHERE tgrelid = 'auth.users'::regclass")
    return "bbgram_delete_profile" in {row.tgname for row in rows}


def command_in(note: str) -> str:
    return note.split("`")[1]


def test_an_owner_that_may_not_see_the_users_is_told_what_to_grant(
    owned_by_another: tuple[SupabaseProject, str],
) -> None:
    project, address = owned_by_another
    (note,) = upgrade(address)
    assert "\n" not in note
    assert not is_linked(project)
    assert grants(project.rows) == set()
    project.rows(command_in(note))
    assert [note.split()[0] for note in upgrade(project.database_url)] == ["linked"]
    assert is_linked(project)
    assert grants(project.rows) == READS
    assert upgrade(address) == upgrade(project.database_url) == []
    works_for(project, address)


def test_an_owner_can_be_given_what_it_needs_by_a_superuser(
    owned_by_another: tuple[SupabaseProject, str],
) -> None:
    project, address = owned_by_another
    project.superuser("REVOKE TRIGGER ON auth.users FROM postgres")
    (note,) = upgrade(address)
    project.superuser(command_in(note))
    assert [note.split()[0] for note in upgrade(address)] == ["linked"]
    works_for(project, address)


def works_for(project: SupabaseProject, address: str) -> None:
    """Check that users of the project, and nobody else, get profiles, which go with the user."""
    user, stranger = project.sign_up(), uuid.uuid4()
    with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as conn:
        for person in (user, stranger):
            conn.execute("SELECT bbgram.put_profile(%s, %s)", (person, f"p{person}"))
        profiles = "SELECT id, deleted_at IS NOT NULL FROM bbgram.profiles"
        assert conn.execute(profiles).fetchall() == [(user, False)]
        project.delete_user(user)
        assert conn.execute(profiles).fetchall() == [(user, True)]


LOST = [
    "DROP TRIGGER bbgram_delete_profile ON auth.users",
    "ALTER TABLE auth.users DISABLE TRIGGER bbgram_delete_profile",
    "DROP FUNCTION bbgram.delete_profile_of_user() CASCADE",
    "DROP TRIGGER profiles_require_user_new ON bbgram.profiles",
    "DROP TRIGGER profiles_require_user_revived ON bbgram.profiles",
    "DROP POLICY members_read_messages ON bbgram.messages",
    "ALTER TABLE bbgram.chats DISABLE ROW LEVEL SECURITY",
    "DROP FUNCTION bbgram.reader_id() CASCADE",
    "DROP FUNCTION bbgram.cleared_of_reader() CASCADE",
    "COMMENT ON FUNCTION bbgram.reader_id() IS 'another release'",
]


@pytest.mark.parametrize("lost", LOST)
def test_a_link_that_has_lost_a_part_is_noticed_and_repaired(make_project: ProjectFactory, lost: str) -> None:
    """As after a backup that was restored without `auth`."""
    project = make_project("everywhere")
    upgrade(project.database_url)
    settings = StoreSettings(database_url=project.database_url)
    assert postgres_finding(settings).advice is None
    project.superuser(lost)
    found = postgres_finding(settings)
    assert found.advice
    assert "not linked" in found.state
    assert [note.split()[0] for note in upgrade(project.database_url)] == ["linked"]
    assert upgrade(project.database_url) == []
    assert grants(project.rows) == READS
    assert project.rows(_WITHOUT_ROW_SECURITY) == []
    works_for(project, project.database_url)


@pytest.mark.parametrize("privileges", PRIVILEGES)
def test_a_schema_made_beforehand_is_closed(make_project: ProjectFactory, privileges: str) -> None:
    project = make_project(privileges)
    project.rows("CREATE SCHEMA bbgram; GRANT ALL ON SCHEMA bbgram TO anon, authenticated, service_role")
    upgrade(project.database_url)
    assert grants(project.rows) == READS


@pytest.mark.parametrize("privileges", PRIVILEGES)
def test_tables_of_an_older_release_in_the_schema_are_closed(
    make_project: ProjectFactory, privileges: str
) -> None:
    project = make_project(privileges)
    project.rows("CREATE SCHEMA bbgram; GRANT USAGE ON SCHEMA bbgram TO anon, authenticated")
    engine = make_engine(project.database_url)
    with engine.begin() as conn:
        command.upgrade(migrate._config(conn), "0004")
    engine.dispose()
    upgrade(project.database_url)
    assert grants(project.rows) == READS
    assert project.rows(_WITHOUT_ROW_SECURITY) == []


def test_the_owner_of_the_schema_owns_the_tables_whoever_migrates_first(
    owned_by_another: tuple[SupabaseProject, str],
) -> None:
    project, address = owned_by_another
    with psycopg.connect(address.replace("+psycopg", "")) as conn:
        owner = conn.execute("SELECT current_user").fetchone()
    assert owner
    project.rows(f'GRANT "{owner[0]}" TO postgres')
    assert [note.split()[0] for note in upgrade(project.database_url)] == ["linked"]
    assert upgrade(address) == []
    owners = project.rows(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'bbgram'::regnamespace"
    )
    assert owners == [(owner[0],)]
    works_for(project, address)


def test_settings_in_the_address_reach_the_database_through_a_pooler(
    make_project: ProjectFactory, pooler: Pooler
) -> None:
    project = make_project()
    options = {"options": "-c search_path=app -c work_mem=33MB"}
    address = make_url(pooler(project)).update_query_dict(options).render_as_string(hide_password=False)
    assert [note.split()[0] for note in upgrade(address)] == ["linked"]
    engine = make_engine(address, pooled=True)
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SHOW search_path").scalar_one() == "bbgram,app"
        assert conn.exec_driver_sql("SHOW work_mem").scalar_one() == "33MB"
    engine.dispose()
