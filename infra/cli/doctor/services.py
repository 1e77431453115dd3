"""Checks the engines that others run: Redis and Postgres."""

import sys
from collections.abc import Iterator
from typing import Any, Final

from infra.cli.doctor.finding import Finding, finding
from infra.outage import REDIS_PORT, address_of, postgres_address
from infra.redis_client import make_redis
from infra.settings.store import StoreSettings

_OLDEST_REDIS: Final = (7, 0)
_TIMEOUT_S: Final = 3.0


def python_finding() -> Finding:
    """Check the version of Python."""
    version = ".".join(str(number) for number in sys.version_info[:3])
    fits = sys.version_info >= (3, 11)
    return Finding("python", f"Python {version}", None if fits else "use Python 3.11 or newer")


def redis_findings(redis_url: str) -> Iterator[Finding]:
    """Check that Redis answers, its version, and that it evicts nothing."""
    facts: dict[str, Any] = {}

    def ask() -> Finding:
        facts.update(_redis_info(redis_url))
        return _redis_version(facts)

    address = address_of(redis_url, REDIS_PORT)
    yield finding("redis", "start Redis, or correct BBGRAM_REDIS_URL", ask, f"Redis at {address}")
    if facts:
        yield _eviction(facts)


def _redis_info(redis_url: str) -> dict[str, Any]:
    with make_redis(redis_url, _TIMEOUT_S) as redis:
        return {**redis.info("server"), **redis.info("memory")}


def _redis_version(facts: dict[str, Any]) -> Finding:
    version = str(facts.get("valkey_version") or facts["redis_version"])
    old = tuple(int(number) for number in version.split(".")[:2]) < _OLDEST_REDIS
    name = "Valkey" if "valkey_version" in facts else "Redis"
    return Finding("redis", f"{name} {version}", "use Redis 7 or newer, or Valkey" if old else None)


def _eviction(facts: dict[str, Any]) -> Finding:
    policy = facts.get("maxmemory_policy", "unknown")
    advice = "set `maxmemory-policy noeviction` in Redis"
    if policy == "noeviction":
        return Finding("eviction", "Redis evicts nothing")
    return Finding("eviction", f"Redis may evict what is still needed: its policy is {policy}", advice)


def postgres_finding(settings: StoreSettings) -> Finding:
    """Check that Postgres answers and has the newest schema."""
    advice = "start Postgres, or correct BBGRAM_DATABASE_URL"
    address = postgres_address(settings.database_url)
    return finding("postgres", advice, lambda: _postgres(settings), f"Postgres at {address}")


def _postgres(settings: StoreSettings) -> Finding:
    from infra.store.engine import make_engine
    from infra.store.migrate import MigrationError, pending
    from infra.store.supabase import is_unlinked

    engine = make_engine(settings.database_url, schema=settings.database_schema, pooled=True)
    try:
        with engine.connect() as conn:
            version = conn.exec_driver_sql("SHOW server_version").scalar_one()
            is_read_only = conn.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on"
            behind = pending(conn, settings.database_schema)
            unlinked = is_unlinked(conn, settings.database_schema)
    except MigrationError as error:
        return Finding("postgres", "the tables are from another release", str(error))
    finally:
        engine.dispose()
    if is_read_only:
        return Finding(
            "postgres",
            f"PostgreSQL {version}, but it is read-only, as a standby is",
            "promote it, or name the primary in BBGRAM_DATABASE_URL",
        )
    if behind:
        return Finding(
            "postgres",
            f"PostgreSQL {version}, but the tables are missing or older than this release",
            "run `bbgram migrate`",
        )
    if unlinked:
        return Finding(
            "postgres",
            f"PostgreSQL {version}, but the tables are not linked to the users of the Supabase project",
            "run `bbgram migrate`, which links them or says which right is missing",
        )
    return Finding("postgres", f"PostgreSQL {version}, all tables are up to date")
