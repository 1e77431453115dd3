"""A service that does not answer is reported once, with its address and the reason, and without secrets."""

import psycopg
import pytest
import redis
import structlog

from infra.outage import Outage, address_of, postgres_address, reason, redis_address


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (caused(redis.ConnectionError("x"), OSError(113, "No route to host")), "No route to host"),
        (redis.ConnectionError("Error 111 connecting to h:1. Connection refused."), "Connection refused"),
        (redis.TimeoutError("Timeout connecting to server"), "no answer in time"),
        (psycopg.errors.ConnectionTimeout("connection timeout expired"), "no answer in time"),
        (redis.AuthenticationError("invalid username-password pair"), "invalid username-password pair"),
        (
            psycopg.OperationalError(
                'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused\n'
                "\tIs the server running on that host and accepting TCP/IP connections?"
            ),
            "Connection refused",
        ),
        (
            psycopg.OperationalError(
                'connection failed: connection to server at "::1", port 1 failed: FATAL:  '
                'password authentication failed for user "chat"'
            ),
            'password authentication failed for user "chat"',
        ),
        (ValueError(), "ValueError"),
    ],
)
def test_the_reason_is_a_few_words(error: Exception, told: str) -> None:
    assert reason(error) == told


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://:secret@h:7000/0", "h:7000"),
        ("rediss://user:secret@redis.example", "redis.example:1"),
        ("postgresql+psycopg://me:secret@[::1]/chat", "[::1]:1"),
        ("redis:///0", "localhost:1"),
        ("redis+sentinel://:secret@one,two:2/primary?sentinel_password=secret", "one:26379,two:2"),
    ],
)
def test_an_address_is_host_and_port_only(url: str, address: str) -> None:
    assert address_of(url, 1) == address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql+psycopg://me:secret@h/chat", "h:5432"),
        ("postgresql://me:secret@h:7000,[::1]/chat", "h:7000,[::1]:5432"),
        ("postgresql://me:secret@/chat?host=a%2C%3A%3A1&port=1%2C", "a:1,[::1]:5432"),
        ("postgresql://me:secret@/chat?host=a:1&host=b:2", "a:1,b:2"),
        ("postgresql:///chat?host=/run/postgresql", "/run/postgresql"),
        ("postgresql:///chat", "localhost:5432"),
    ],
)
def test_the_address_of_a_postgres_may_be_several(url: str, address: str) -> None:
    assert postgres_address(url) == address


def test_the_address_of_a_client_is_that_of_its_server() -> None:
    with redis.Redis.from_url("redis://:secret@h:7000/0") as client:
        assert redis_address(client) == "h:7000"


def test_an_outage_begins_once_and_its_end_is_logged() -> None:
    outage = Outage("inbox")
    with structlog.testing.capture_logs() as logs:
        outage.ends()
        assert [outage.begins() for _ in range(3)] == [True, False, False]
        outage.ends()
        outage.ends()
        assert outage.begins()
    assert [(line["event"], line["what"]) for line in logs] == [("works_again", "inbox")]
