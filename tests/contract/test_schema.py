"""The tables have a schema of their own: older installations are moved there, and an app's tables are not."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from infra.settings.store import SCHEMA
from infra.store import folding
from infra.store import migrate as migrate_module
from infra.store.connection import LimitedConnection
from infra.store.engine import make_engine
from infra.store.migrate import MigrationError, pending, upgrade
from infra.store.models import Base
from infra.store.move import _TABLES
from tests.contract.test_migrations import address, install_older, migrate, tables
from tests.harness.engines import Engines

APP = """
CREATE TABLE profiles (id uuid PRIMARY KEY, username text);
CREATE TABLE messages (id bigint PRIMARY KEY, text text);
CREATE TABLE devices (id bigint PRIMARY KEY);
CREATE TABLE notifications (id bigint PRIMARY KEY);
INSERT INTO profiles VALUES (gen_random_uuid(), 'ann');
"""
VERSIONS = (
    "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES "
)
MADE_IN_PUBLIC = {table for tables in _TABLES.values() for table in tables}
MOVED = f"moved all tables from schema {{}} to schema {SCHEMA}"


@pytest.fixture
def app_database(engines: Engines) -> Iterator[Engine]:
    """Make an empty database; the engine works in `public`."""
    store = engines.new_store(migrated=False)
    engine = make_engine(store.database_url, schema="public")
    yield engine
    engine.dispose()
    engines.release(store)


def run(app_database: Engine, sql: str) -> None:
    with app_database.begin() as conn:
        conn.exec_driver_sql(sql)


def count(app_database: Engine, table: str) -> int:
    with app_database.connect() as conn:
        return int(conn.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


@pytest.mark.parametrize("version", [None, "'5c1a2b3d4e5f'", "'0001'", "'0004'"])
def test_the_tables_of_an_app_are_left_alone(app_database: Engine, version: str | None) -> None:
    run(app_database, APP + (f"{VERSIONS} ({version})" if version else ""))
    before = tables(app_database, "public")
    assert migrate(app_database) == []
    assert tables(app_database, "public") == before
    assert tables(app_database) == set(Base.metadata.tables)
    assert count(app_database, "public.profiles") == 1
    assert count(app_database, f"{SCHEMA}.profiles") == 0
    if version:
        with app_database.connect() as conn:
            assert f"'{conn.exec_driver_sql('SELECT * FROM public.alembic_version').scalar_one()}'" == version


PEOPLE = """
INSERT INTO profiles (id, username, username_key)
SELECT md5(n::text)::uuid, 'user' || n, 'user' || n FROM generate_series(1, 50) n
"""


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004"])
def test_an_older_installation_is_moved_with_its_rows(app_database: Engine, revision: str) -> None:
    install_older(app_database, revision)
    run(app_database, PEOPLE)
    assert migrate(app_database) == [MOVED.format("public")]
    assert tables(app_database, "public") == set()
    assert count(app_database, f"{SCHEMA}.profiles") == 50
    with app_database.connect() as conn:
        assert not pending(conn)
        left = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        assert conn.exec_driver_sql(left).scalar_one() == 0
        assert conn.exec_driver_sql("SELECT to_regclass('public.alembic_version')").scalar_one() is None
    assert migrate(app_database) == []


def test_an_older_installation_is_found_where_the_address_leads(app_database: Engine) -> None:
    run(app_database, "CREATE SCHEMA tenant")
    install_older(app_database, "0004", "tenant")
    given = f"{address(app_database)}?options=-csearch_path%3Dtenant"
    assert upgrade(given) == [MOVED.format("tenant")]
    assert tables(app_database, "tenant") == set()


def test_a_version_table_that_an_app_shares_is_left_to_it(app_database: Engine) -> None:
    install_older(app_database, "0004")
    run(app_database, "INSERT INTO alembic_version VALUES ('5c1a2b3d4e5f')")
    assert migrate(app_database) == [MOVED.format("public")]
    with app_database.connect() as conn:
        assert conn.exec_driver_sql("SELECT * FROM public.alembic_version").scalars().all() == [
            "5c1a2b3d4e5f"
        ]


def test_two_installations_live_side_by_side(app_database: Engine) -> None:
    for schema in ("first", "select"):
        upgrade(address(app_database), schema)
        run(
            app_database,
            f"INSERT INTO \"{schema}\".profiles (id, username) VALUES (gen_random_uuid(), '{schema}')",
        )
    for schema in ("first", "select"):
        engine = make_engine(address(app_database), schema=schema)
        with engine.connect() as conn:
            assert conn.exec_driver_sql("SELECT username FROM profiles").scalars().all() == [schema]
        engine.dispose()


def test_an_installation_with_a_schema_of_its_own_stays_there(app_database: Engine) -> None:
    """Even if the search path of the address leads to it."""
    migrate(app_database)
    before = tables(app_database)
    given = f"{address(app_database)}?options=-csearch_path%3D{SCHEMA}"
    assert upgrade(given, "second") == []
    assert tables(app_database) == tables(app_database, "second") == before
    assert upgrade(given, SCHEMA) == []


@pytest.mark.parametrize("revision", ["0001", "0004"])
def test_tables_that_are_in_their_schema_already_are_closed_too(app_database: Engine, revision: str) -> None:
    run(
        app_database,
        f"CREATE SCHEMA {SCHEMA}; GRANT ALL ON SCHEMA {SCHEMA} TO PUBLIC;"
        f" ALTER DEFAULT PRIVILEGES IN SCHEMA {SCHEMA} GRANT ALL ON TABLES TO PUBLIC",
    )
    install_older(app_database, revision, SCHEMA)
    assert migrate(app_database) == []
    with app_database.connect() as conn:
        assert conn.exec_driver_sql(OPEN).scalars().all() == []


OPEN = f"""
SELECT relname FROM pg_class CROSS JOIN LATERAL aclexplode(relacl) granted
WHERE relnamespace = '{SCHEMA}'::regnamespace AND grantee <> relowner
UNION ALL
SELECT relname FROM pg_class
WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind = 'r' AND NOT relrowsecurity
UNION ALL
SELECT nspname FROM pg_namespace CROSS JOIN LATERAL aclexplode(nspacl) granted
WHERE nspname = '{SCHEMA}' AND grantee <> nspowner
"""


@pytest.mark.parametrize("setting", ["statement_timeout", "idle_in_transaction_session_timeout"])
def test_the_time_limits_of_a_role_are_not_those_of_a_migration(app_database: Engine, setting: str) -> None:
    run(app_database, f"ALTER DATABASE {app_database.url.database} SET {setting} = '100ms'")
    assert migrate(app_database) == []
    with app_database.connect() as conn:
        assert not pending(conn)


def test_the_tables_of_unicode_are_made_before_anything_is_locked(
    app_database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folding.unicode_parts.cache_clear()
    made: list[int] = []
    original = migrate_module._upgrade

    def look(conn: Connection, schema: str) -> tuple[list[str], bool]:
        made.append(folding.unicode_parts.cache_info().currsize)
        return original(conn, schema)

    monkeypatch.setattr(migrate_module, "_upgrade", look)
    migrate(app_database)
    assert made == [1]


@pytest.fixture
def other_role(app_database: Engine) -> Iterator[str]:
    """Make a role that may do no more in the database than connect; return its name."""
    role = f"app_{app_database.url.database}"
    run(app_database, f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    yield role
    run(app_database, f"DROP OWNED BY {role}; DROP ROLE {role}")


OWNERS = f"""
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace
UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = '{SCHEMA}'::regnamespace
UNION SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = '{SCHEMA}'
"""


def owners(app_database: Engine) -> list[str]:
    with app_database.connect() as conn:
        return list(conn.exec_driver_sql(OWNERS).scalars())


def test_whoever_migrates_the_tables_stay_with_their_owner(app_database: Engine, other_role: str) -> None:
    run(app_database, f"GRANT ALL ON SCHEMA public TO {other_role}")
    install_older(app_database, "0004")
    for table in (*MADE_IN_PUBLIC, "alembic_version"):
        run(app_database, f"ALTER TABLE public.{table} OWNER TO {other_role}")
    for function in ("chats_forget_last_to", "profiles_fold_key"):
        run(app_database, f"ALTER FUNCTION public.{function} OWNER TO {other_role}")
    assert migrate(app_database) == [MOVED.format("public")]
    assert owners(app_database) == [other_role]
    # At a later upgrade too.
    run(app_database, f"COMMENT ON FUNCTION {SCHEMA}.username_key(text) IS 'older'")
    run(app_database, f"DROP FUNCTION {SCHEMA}.is_username(text)")
    assert migrate(app_database) == []
    assert owners(app_database) == [other_role]


def test_a_schema_made_beforehand_says_who_owns_the_tables(app_database: Engine, other_role: str) -> None:
    run(app_database, f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {other_role}")
    assert migrate(app_database) == []
    assert owners(app_database) == [other_role]


@pytest.mark.parametrize("place", ["public", SCHEMA])
def test_a_role_that_may_not_act_for_the_owner_is_told_so_in_one_line(
    app_database: Engine, other_role: str, place: str
) -> None:
    if place == SCHEMA:
        run(app_database, f"CREATE SCHEMA {SCHEMA}")
    else:
        install_older(app_database, "0004")
    database = app_database.url.database
    run(app_database, f"GRANT CREATE ON DATABASE {database} TO {other_role}")
    given = app_database.url.set(username=other_role, password="x").render_as_string(hide_password=False)
    with pytest.raises(
        MigrationError, match=f"role {app_database.url.username},.* role {other_role} .*: run"
    ):
        upgrade(given)


def test_a_schema_and_tables_of_two_owners_are_refused_in_one_line(
    app_database: Engine, other_role: str
) -> None:
    install_older(app_database, "0004")
    run(app_database, f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {other_role}")
    with pytest.raises(
        MigrationError, match=f"^schema {SCHEMA} belongs to role {other_role}, .*ALTER SCHEMA"
    ):
        migrate(app_database)


def test_tables_of_a_newer_release_are_refused_in_one_line(app_database: Engine) -> None:
    migrate(app_database)
    run(app_database, f"UPDATE {SCHEMA}.alembic_version SET version_num = '9999'")
    with pytest.raises(
        MigrationError, match=r"^schema bbgram is at revision 9999, which .* does not know: use"
    ):
        migrate(app_database)


@contextmanager
def held(app_database: Engine, statement: str) -> Iterator[None]:
    """Keep what a statement locks, however long that is: no timeout ends the transaction."""
    engine = make_engine(
        app_database.url.render_as_string(hide_password=False), schema="public", timeouts=False
    )
    try:
        with engine.begin() as conn:
            conn.exec_driver_sql(statement)
            yield
    finally:
        engine.dispose()


def test_a_table_in_use_is_waited_for(app_database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In short tries: whoever wants the table meanwhile gets it in between."""
    monkeypatch.setattr(migrate_module, "_LOCK_TIMEOUT", "50ms")
    install_older(app_database, "0004")
    tried = threading.Event()
    monkeypatch.setattr(migrate_module, "sleep", lambda _: tried.set())
    done = threading.Thread(target=migrate, args=[app_database])
    with held(app_database, "LOCK TABLE messages IN ACCESS SHARE MODE"):
        done.start()
        assert tried.wait(20)
        assert tables(app_database, "public") == MADE_IN_PUBLIC
    done.join()
    assert tables(app_database) == set(Base.metadata.tables)


def test_a_table_that_stays_in_use_is_one_line(app_database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    # The long one is for autovacuum, which may be at it.
    for name in ("_LOCK_TIMEOUT", "_LONG_LOCK_TIMEOUT"):
        monkeypatch.setattr(migrate_module, name, "10ms")
    monkeypatch.setattr(migrate_module, "_PAUSE_S", 0.0)
    install_older(app_database, "0004")
    with (
        held(app_database, "LOCK TABLE chats IN ACCESS SHARE MODE"),
        pytest.raises(MigrationError, match=r"^the tables are in use: stop the workers"),
    ):
        migrate(app_database)
    assert tables(app_database, "public") == MADE_IN_PUBLIC


SHOWN = {
    "search_path": "SHOW search_path",
    "statement_timeout": "SHOW statement_timeout",
    "work_mem": "SHOW work_mem",
}


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {"search_path": SCHEMA, "statement_timeout": "8s"}),
        ("-csearch_path=app", {"search_path": f"{SCHEMA},app"}),
        (
            "-c search_path=app,extensions -c work_mem=33MB",
            {"search_path": f"{SCHEMA},app,extensions", "work_mem": "33MB"},
        ),
        ("--search-path=app", {"search_path": f"{SCHEMA},app"}),
        ("-c search_path=app,\\ public", {"search_path": f"{SCHEMA},app, public"}),
        ("-c statement_timeout=3s", {"statement_timeout": "3s", "search_path": SCHEMA}),
        ("-c Statement_Timeout=3s --work_mem=33MB", {"statement_timeout": "3s", "work_mem": "33MB"}),
    ],
)
def test_what_an_operator_writes_in_the_address_is_kept(
    app_database: Engine, options: str, expected: dict[str, str], pooled: bool
) -> None:
    url = app_database.url.update_query_dict({"options": options} if options else {})
    engine = make_engine(url.render_as_string(hide_password=False), pooled=pooled)
    with engine.connect() as conn:
        found = {name: conn.exec_driver_sql(SHOWN[name]).scalar_one() for name in expected}
    engine.dispose()
    assert found == expected


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ("-c work_mem=33MB -csearch_path=app", ""),
        ("endpoint=ep-1 -c work_mem=33MB", "endpoint=ep-1"),
        ("reference=abc", "reference=abc"),
    ],
)
def test_a_pooler_gets_only_the_options_that_are_not_settings(
    app_database: Engine, monkeypatch: pytest.MonkeyPatch, options: str, left: str
) -> None:
    sent: list[str] = []

    def connect(*_: object, **parameters: Any) -> None:
        sent.append(parameters["options"])
        raise ConnectionAbortedError

    monkeypatch.setattr(LimitedConnection, "connect", connect)
    url = app_database.url.update_query_dict({"options": options})
    engine = make_engine(url.render_as_string(hide_password=False), pooled=True)
    with pytest.raises(ConnectionAbortedError):
        engine.connect()
    assert sent == [left]
    engine.dispose()


def test_options_of_the_environment_are_kept_too(
    app_database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=33MB")
    engine = make_engine(address(app_database))
    with engine.connect() as conn:
        assert conn.execute(text("SHOW work_mem")).scalar_one() == "33MB"
        assert conn.execute(text("SHOW search_path")).scalar_one() == SCHEMA
    engine.dispose()
