"""A connection to Postgres that is silent for too long is given up."""

import os
import socket
import threading
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from infra.store.connection import LimitedConnection
from infra.store.engine import make_engine
from tests.harness.engines import Store
from tests.harness.interruption import Interrupted, interrupted
from tests.harness.waiting import eventually


@pytest.fixture
def connection(bench_store: Store) -> Iterator[LimitedConnection]:
    url = bench_store.database_url.replace("+psycopg", "")
    with LimitedConnection.connect(url, autocommit=True) as connection:
        yield connection


def test_a_silent_server_is_given_up_and_the_connection_is_closed(connection: LimitedConnection) -> None:
    connection.limit_s = 0.2
    with pytest.raises(psycopg.OperationalError, match=r"^no answer within 0\.2 s$"):
        connection.execute("SELECT pg_sleep(60)")
    assert connection.closed


def test_without_a_limit_a_statement_may_take_any_time(connection: LimitedConnection) -> None:
    assert connection.execute("SELECT pg_sleep(0.3)").rowcount == 1


def test_a_limit_of_the_library_itself_is_left_alone(connection: LimitedConnection) -> None:
    connection.limit_s = 60
    pid = connection.info.backend_pid

    def cancel_once_it_runs() -> None:
        running = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        info = connection.info
        with psycopg.connect(info.dsn, password=info.password, autocommit=True) as other:
            eventually(lambda: other.execute(running, [pid]).rowcount, "the statement runs")
        connection.cancel_safe()

    done = threading.Thread(target=cancel_once_it_runs)
    done.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(60)")
    done.join()
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_exception_during_a_wait_closes_the_connection(connection: LimitedConnection) -> None:
    with (
        interrupted(Interrupted()),
        pytest.raises(psycopg.OperationalError, match=r"^interrupted by Interrupted$"),
    ):
        connection.execute("SELECT pg_sleep(60)")
    assert connection.closed


def test_a_process_that_ends_during_a_wait_leaves_no_statement_behind(connection: LimitedConnection) -> None:
    with interrupted(SystemExit(3)), pytest.raises(SystemExit):
        connection.execute("SELECT pg_sleep(60)")
    assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("options", "timeouts", "limit_s"),
    [
        ("", True, 9.0),
        ("-c statement_timeout=2000", True, 3.0),
        ("-c statement_timeout=2s", True, 3.0),
        ("-c statement_timeout=1min", True, 61.0),
        ("--statement-timeout=1h", True, 3601.0),
        ("--statement_timeout=0x7D0", True, 3.0),
        ("-c statement_timeout=2e3", True, 3.0),
        ("-c statement_timeout=.05min", True, 4.0),
        ("-c statement_timeout=9000000us", True, 10.0),
        ("-c statement_timeout=2\\ s", True, 3.0),
        ("-c statement_timeout=2s -c statement_timeout=4s", True, 5.0),
        ("-c statement_timeout=2000", False, 3.0),
        # Without an end of the server's, ours stays; only a migration may take any time.
        ("-c statement_timeout=0", True, 9.0),
        ("-c statement_timeout=0s", True, 9.0),
        ("-c statement_timeout=0", False, None),
        ("", False, None),
    ],
)
def test_the_limit_exceeds_the_time_that_a_statement_may_take(
    bench_store: Store, options: str, timeouts: bool, limit_s: float | None
) -> None:
    address = f"{bench_store.database_url}?options={quote(options)}"
    engine = make_engine(address, timeouts=timeouts)
    with engine.connect() as conn:
        assert isinstance(conn.connection.driver_connection, LimitedConnection)
        assert conn.connection.driver_connection.limit_s == limit_s
    engine.dispose()


def test_the_limit_follows_what_the_environment_says(
    bench_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=2s")
    engine = make_engine(bench_store.database_url)
    with engine.connect() as conn:
        assert conn.connection.driver_connection.limit_s == 3.0  # type: ignore[union-attr]
    engine.dispose()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no TCP_USER_TIMEOUT")
@pytest.mark.parametrize(
    ("given", "user_timeout_ms"),
    [("", 5_000), ("?tcp_user_timeout=7000", 7_000), ("?tcp_user_timeout=0", 5_000)],
)
def test_the_system_notices_a_peer_that_has_vanished(
    bench_store: Store, given: str, user_timeout_ms: int
) -> None:
    engine = make_engine(f"{bench_store.database_url}{given}")
    with engine.connect() as conn:
        number = conn.connection.driver_connection.pgconn.socket  # type: ignore[union-attr]
        with socket.socket(fileno=os.dup(number)) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == user_timeout_ms
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
    engine.dispose()


def test_a_server_that_does_not_answer_is_given_up_whatever_the_address_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        engine = make_engine(f"postgresql+psycopg://chat@127.0.0.1:{port}/chat?connect_timeout=0")
        with pytest.raises(OperationalError, match="timeout expired"):
            engine.connect()
        engine.dispose()
