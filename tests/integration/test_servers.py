"""An address that names several Postgres servers, and servers that are read-only."""

import socket
from collections.abc import Iterator

import psycopg
import pytest
from pydantic import TypeAdapter
from sqlalchemy import make_url, text
from sqlalchemy.exc import InternalError, OperationalError

from infra.cli.doctor.services import postgres_finding
from infra.settings.store import PostgresAddress, StoreSettings
from infra.store.engine import make_engine
from tests.harness.engines import Engines, Store

ADDRESS: TypeAdapter[str] = TypeAdapter(PostgresAddress)


@pytest.fixture
def store(engines: Engines) -> Iterator[Store]:
    """A store whose settings a test may change."""
    store = engines.new_store()
    yield store
    engines.release(store)


def make_read_only(store: Store) -> None:
    """Let new connections read only."""
    with psycopg.connect(store.database_url.replace("+psycopg", ""), autocommit=True) as conn:
        name = make_url(store.database_url).database
        conn.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")


@pytest.mark.parametrize("kind", ["gone", "silent"])
def test_a_server_that_does_not_answer_is_passed_over(store: Store, kind: str) -> None:
    url = make_url(store.database_url)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if kind == "silent":
            other.listen()
        both = f"127.0.0.1:{other.getsockname()[1]},127.0.0.1:{url.port}"
        address = f"postgresql://{url.username}:{url.password}@{both}/{url.database}"
        engine = make_engine(ADDRESS.validate_python(address))
        with engine.connect() as conn:
            assert conn.execute(text("SELECT inet_server_port()")).scalar_one() == url.port
        engine.dispose()


def test_none_of_several_servers_that_are_read_only_is_used(store: Store) -> None:
    make_read_only(store)
    url = make_url(store.database_url)
    server = f"127.0.0.1:{url.port}"
    address = f"postgresql://{url.username}:{url.password}@{server},{server}/{url.database}"
    engine = make_engine(ADDRESS.validate_python(address))
    with pytest.raises(OperationalError, match="session is read-only"):
        engine.connect()


def test_a_connection_that_is_read_only_is_thrown_away(store: Store) -> None:
    make_read_only(store)
    engine = make_engine(store.database_url)
    pids = []
    for _ in range(2):
        with engine.connect() as conn:
            pids.append(conn.execute(text("SELECT pg_backend_pid()")).scalar_one())
            with pytest.raises(InternalError) as error:
                conn.execute(text("DELETE FROM chats"))
            assert error.value.connection_invalidated
    engine.dispose()
    assert pids[0] != pids[1]


def test_the_doctor_notices_a_server_that_is_read_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBGRAM_DATABASE_URL", store.database_url)
    assert postgres_finding(StoreSettings.load()).advice is None
    make_read_only(store)
    found = postgres_finding(StoreSettings.load())
    assert "read-only" in found.state
    assert found.advice == "promote it, or name the primary in BBGRAM_DATABASE_URL"
