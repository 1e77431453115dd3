"""Alembic's migrations and the models describe the same tables."""

import ast
import re
import shutil
import sys
import unicodedata
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from infra.settings.store import SCHEMA
from infra.store import folding
from infra.store import migrate as migrate_module
from infra.store.engine import make_engine
from infra.store.migrate import _SCRIPTS, _config, _script, pending, upgrade
from infra.store.models import Base
from infra.store.profiles import username_key
from tests.contract.characters import telling_characters
from tests.harness.engines import Engines


@pytest.fixture
def empty_database(engines: Engines) -> Iterator[Engine]:
    """Make an empty database."""
    store = engines.new_store(migrated=False)
    # One test compares tens of thousands of characters, which may take longer than a worker's statement may.
    engine = make_engine(store.database_url, timeouts=False)
    yield engine
    engine.dispose()
    engines.release(store)


def migrate(database: Engine) -> list[str]:
    return upgrade(address(database))


def address(database: Engine) -> str:
    return database.url.render_as_string(hide_password=False)


def install_older(database: Engine, revision: str, schema: str = "public") -> None:
    """Make what an earlier release made: its tables, in the schema that the address leads to."""
    older = make_engine(address(database), schema=schema)
    with older.begin() as conn:
        command.upgrade(_config(conn, schema), revision)
    older.dispose()


def tables(database: Engine, schema: str = SCHEMA) -> set[str]:
    return set(inspect(database).get_table_names(schema)) - {"alembic_version"}


def test_migrations_make_exactly_the_tables_of_the_models(empty_database: Engine) -> None:
    migrate(empty_database)
    with empty_database.connect() as conn:
        context = MigrationContext.configure(
            conn, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_migrations_make_exactly_the_constraints_of_the_models(empty_database: Engine) -> None:
    migrate(empty_database)
    made = {
        (table, check["name"])
        for table in tables(empty_database)
        for check in inspect(empty_database).get_check_constraints(table, SCHEMA)
    }
    expected = {
        (table.name, constraint.name)
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert ("chats", "chats_pair_ordered") in expected
    assert made == expected


def test_migrations_make_exactly_the_indexes_of_the_models(empty_database: Engine) -> None:
    migrate(empty_database)
    made = {
        index["name"]
        for table in tables(empty_database)
        for index in inspect(empty_database).get_indexes(table, SCHEMA)
        if "duplicates_constraint" not in index
    }
    assert made == {index.name for table in Base.metadata.tables.values() for index in table.indexes}


def test_upgrading_twice_changes_nothing(empty_database: Engine) -> None:
    migrate(empty_database)
    before = tables(empty_database)
    migrate(empty_database)
    assert tables(empty_database) == before == set(Base.metadata.tables)


def test_downgrading_removes_everything_and_upgrading_brings_it_back(empty_database: Engine) -> None:
    migrate(empty_database)
    with empty_database.begin() as conn:
        command.downgrade(_config(conn, SCHEMA), "base")
    assert tables(empty_database) == set()
    migrate(empty_database)
    assert tables(empty_database) == set(Base.metadata.tables)


def test_a_database_without_the_newest_migration_is_noticed(empty_database: Engine) -> None:
    with empty_database.connect() as conn:
        assert pending(conn)
    migrate(empty_database)
    with empty_database.connect() as conn:
        assert not pending(conn)


STALE = """
CREATE OR REPLACE FUNCTION username_key(name text) RETURNS text LANGUAGE sql IMMUTABLE STRICT
AS $$ SELECT 'old ' || name $$;
COMMENT ON FUNCTION username_key(text) IS 'Unicode 15.0.0, rules 1';
"""
REFOLD = """
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    op.execute("UPDATE profiles SET username_key = username_key(username)")
"""


def run(database: Engine, sql: str) -> None:
    with database.begin() as conn:
        conn.exec_driver_sql(sql)


def test_functions_of_another_release_are_noticed_and_replaced(empty_database: Engine) -> None:
    migrate(empty_database)
    run(empty_database, STALE)
    with empty_database.connect() as conn:
        assert pending(conn)
    migrate(empty_database)
    with empty_database.connect() as conn:
        assert not pending(conn)
        assert conn.exec_driver_sql("SELECT username_key('Alice')").scalar_one() == "alice"


def test_a_migration_that_folds_names_again_has_the_rules_of_its_release(
    empty_database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(empty_database)
    run(empty_database, STALE)
    run(empty_database, "INSERT INTO profiles (id, username) VALUES (gen_random_uuid(), 'Alice')")
    assert set(keys(empty_database).values()) == {"old Alice"}
    scripts = tmp_path / "migrations"
    shutil.copytree(_SCRIPTS, scripts)
    (scripts / "versions" / "9999_refold.py").write_text(REFOLD.format(head=_script().get_current_head()))
    monkeypatch.setattr(migrate_module, "_SCRIPTS", scripts)
    migrate(empty_database)
    assert set(keys(empty_database).values()) == {"alice"}


@pytest.mark.parametrize("place", range(len(folding._RULES)))
def test_another_rule_makes_another_version_of_the_functions(
    monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    before = folding.version()
    rules: list[object] = list(folding._RULES)
    rules[place] = "another"
    monkeypatch.setattr(folding, "_RULES", tuple(rules))
    assert folding.version() != before


def test_another_unicode_makes_another_version_of_the_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = folding.version()
    monkeypatch.setattr(unicodedata, "unidata_version", "99.0.0")
    assert folding.version() != before


def test_every_constant_that_the_functions_are_made_of_is_in_their_version() -> None:
    constants = {name: value for name, value in vars(folding).items() if name.isupper() and name[0] != "_"}
    assert "INVISIBLE" in constants
    assert {*constants.values(), folding._FUNCTIONS} == set(folding._RULES)


@pytest.mark.parametrize("path", sorted((_SCRIPTS / "versions").glob("*.py")), ids=lambda path: path.stem)
def test_a_migration_imports_nothing_that_a_later_release_may_change(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
        elif isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
    assert {name.partition(".")[0] for name in imported} <= {
        "alembic",
        "sqlalchemy",
        *sys.stdlib_module_names,
    }


def old_key(username: str) -> str:
    """Fold a name as releases before migration 0004 did."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold()).strip()


def insert(database: Engine, usernames: Mapping[str, str]) -> dict[str, uuid.UUID]:
    """Store profiles as a worker of an earlier release does, the oldest first. Return their ids."""
    ids = {label: uuid.uuid4() for label in usernames}
    for label, username in usernames.items():
        with database.begin() as conn:
            conn.execute(
                text(
                    "INSERT INTO public.profiles (id, username, username_key) VALUES (:id, :name, :key)"
                    " ON CONFLICT DO NOTHING"
                ),
                {"id": ids[label], "name": username, "key": old_key(username)},
            )
    return ids


def keys(database: Engine, schema: str = SCHEMA) -> dict[uuid.UUID, str]:
    with database.connect() as conn:
        return {row.id: row.username_key for row in conn.execute(text(f"SELECT * FROM {schema}.profiles"))}


DISGUISED = {
    "selector": "B\ufe0fob",
    "spaces": "al  ice",
    "filler": "carol\u3164",
    "half-width filler": "d\uffa0an",
    "zero width": "e\u200bve",
    "tag": "frank\U000e0041",
    "joiner of an accent": "e\u034f\u0301mile",
    "letters that fold": "\u1e9e\ufe0f\ufb01",
}


def test_the_keys_of_the_previous_release_are_folded_again(
    empty_database: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    install_older(empty_database, "0003")
    plain = {"plain": "Zoe", "one space": "al bert", "accent": "\u00c9mil"}
    odd_spaces = {"tab": "t\tt", "line separator": "l\u2028l", "next line": "n\x85n"}
    usernames = {**plain, **DISGUISED, **odd_spaces}
    ids = insert(empty_database, usernames)
    before = keys(empty_database, "public")
    assert {label for label in usernames if before[ids[label]] != username_key(usernames[label])} == {
        *DISGUISED,
        *odd_spaces,
    }
    migrate(empty_database)
    assert keys(empty_database) == {ids[label]: username_key(name) for label, name in usernames.items()}
    assert capsys.readouterr().err == ""


def test_of_names_that_now_fold_alike_the_first_keeps_it_and_the_others_are_reported(
    empty_database: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    install_older(empty_database, "0003")
    usernames = {
        "impostor": "bob\ufe0f",
        "bob": "Bob",
        "older": "al\u034fice",
        "younger": "alice\ufe0f",
        "nobody": "\u3164",
    }
    ids = insert(empty_database, usernames)
    migrate(empty_database)
    refused = ("impostor", "younger", "nobody")
    assert keys(empty_database) == {
        ids["bob"]: "bob",
        ids["older"]: "alice",
        **{ids[label]: old_key(usernames[label]) for label in refused},
    }
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [str(ids[label]) for label in refused]
    assert all(line.isascii() for line in lines)


def test_the_key_follows_the_name_whoever_writes_it(empty_database: Engine) -> None:
    migrate(empty_database)
    ids = {label: uuid.uuid4() for label in DISGUISED}
    with empty_database.begin() as conn:
        for label, username in DISGUISED.items():
            params = {"id": ids[label], "name": username}
            conn.execute(
                text("INSERT INTO profiles (id, username, username_key) VALUES (:id, :name, 'x')"), params
            )
    assert keys(empty_database) == {ids[label]: username_key(name) for label, name in DISGUISED.items()}
    with empty_database.begin() as conn:
        conn.execute(text("UPDATE profiles SET username = 'Zo\u00cb' WHERE id = :id"), {"id": ids["tag"]})
    assert keys(empty_database)[ids["tag"]] == "zo\u00eb"


def test_a_name_with_nothing_visible_is_no_name(empty_database: Engine) -> None:
    migrate(empty_database)
    with empty_database.begin() as conn, pytest.raises(IntegrityError, match="nothing visible"):
        conn.execute(text("INSERT INTO profiles (id, username) VALUES (gen_random_uuid(), '\u3164')"))


def test_migration_0004_selects_every_key_that_it_folds_differently(empty_database: Engine) -> None:
    migration = _script().get_revision("0004").module
    pattern = migration._OLD
    characters = telling_characters()
    for char in characters:
        name = f"a{char}b"
        old = old_key(name)
        if old != migration.fold(name):
            assert re.search(pattern, old), hex(ord(char))
    with empty_database.connect() as conn:
        found = conn.execute(
            text("SELECT c FROM unnest(CAST(:all AS text[])) AS every (c) WHERE c ~ :old"),
            {"all": characters, "old": pattern},
        ).scalars()
        assert set(found) == {char for char in characters if re.search(pattern, char)}
