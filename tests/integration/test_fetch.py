"""A statement that is run past SQLAlchemy fails exactly as it would with SQLAlchemy."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from psycopg import Connection as PsycopgConnection
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from infra.metrics.common import POSTGRES_ERRORS
from infra.store.engine import fetch
from tests.harness.engines import Engines

SECRET: Final = "a secret"
FAILING: Final[Mapping[str, tuple[str, Any]]] = {
    "a mistake": ("SELECT 1 / %(value)s::int", 0),
    "a value that psycopg does not take": ("SELECT %(value)s", f"{SECRET}\0"),
    "a statement that takes too long": ("SELECT pg_sleep(%(value)s), set_config('x.y', '1', true)", 5),
    "a row that exists": ("INSERT INTO profiles (id, username) SELECT id, %(value)s FROM profiles", SECRET),
    "a server that only reads": ("DELETE FROM chats WHERE id::text = %(value)s", SECRET),
    "a connection that is cut": ("SELECT pg_terminate_backend(pg_backend_pid()), %(value)s::text", SECRET),
}


@pytest.fixture(scope="module")
def engine(engines: Engines) -> Iterator[Engine]:
    store = engines.new_store()
    engine = store.engine(for_batches=True)
    with engine.begin() as conn:
        conn.execute(text("INSERT INTO profiles (id, username) VALUES (gen_random_uuid(), 'bob')"))
    yield engine
    engine.dispose()
    engines.release(store)


def fail(engine: Engine, kind: str, run: Any) -> tuple[Any, ...]:
    """Return what becomes of a failure: its classes, whether the connection is given up, what is counted."""
    statement, value = FAILING[kind]
    before = counts()
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as conn:
        conn.execute(text("SET statement_timeout = 200"))
        if kind == "a server that only reads":
            conn.execute(text("SET default_transaction_read_only = on"))
        own = conn.connection.driver_connection
        with pytest.raises(DBAPIError) as error:
            run(conn, statement, {"value": value})
        assert isinstance(own, PsycopgConnection)
        given_up = (error.value.connection_invalidated, own.closed)
    with engine.connect() as conn:
        conn.execute(text("RESET ALL"))
        conn.execute(text("SELECT 1"))
    assert f"'{SECRET}" not in str(error.value)
    return type(error.value), type(error.value.orig), given_up, counts() - before


def counts() -> Counter[str]:
    return Counter(
        {
            sample.labels["error"]: sample.value
            for metric in POSTGRES_ERRORS.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }
    )


def with_sqlalchemy(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> None:
    conn.exec_driver_sql(statement, dict(parameters))


@pytest.mark.parametrize("kind", FAILING)
def test_it_fails_as_with_sqlalchemy(engine: Engine, kind: str) -> None:
    assert fail(engine, kind, fetch) == fail(engine, kind, with_sqlalchemy)


def test_its_rows_are_those_of_sqlalchemy(engine: Engine) -> None:
    statement = "SELECT id, username, created_at, NULL, 1, true FROM profiles WHERE username = %(name)s"
    with engine.connect() as conn:
        rows = fetch(conn, statement, {"name": "bob"})
        assert rows == [tuple(row) for row in conn.exec_driver_sql(statement, {"name": "bob"})]
    assert len(rows) == 1
