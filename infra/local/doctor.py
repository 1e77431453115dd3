"""Checks all that the system needs, one finding each, with what to do when something is wrong."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.local.parts import http_ok
from infra.local.ports import is_free
from infra.local.stack_env import NAME
from infra.settings import (
    AuthMode,
    EdgeSettings,
    FunctionSettings,
    QueueSettings,
    SettingsError,
    WorkerSettings,
)

_START: Final = "start it with `make run`, or correct the setting"
_OLDEST_REDIS: Final = (7, 0)


@dataclass(frozen=True)
class Finding:
    """What was found about one thing; `advice` is set when something must be done."""

    subject: str
    state: str
    advice: str | None = None

    def line(self) -> str:
        """Return the finding as one line of text."""
        mark = "WRONG" if self.advice else "ok   "
        advice = f" -> {self.advice}" if self.advice else ""
        return f"{mark} {self.subject:<9} {self.state}{advice}"


def examine(folder: Path, port: int) -> list[Finding]:
    """Check everything; never raises for what is wrong, and asks each service once."""
    return list(_examine(folder, port))


def _examine(folder: Path, port: int) -> Iterator[Finding]:
    yield _python()
    origin = f"{folder / NAME}" if (folder / NAME).exists() else "no local stack was started yet"
    yield Finding("stack", origin)
    edge = worker = None
    try:
        edge = EdgeSettings.load()
        yield Finding("settings", "those of an edge are complete")
    except SettingsError as error:
        yield Finding("settings", "those of an edge are not", str(error))
    try:
        worker = WorkerSettings.load()
        yield Finding("settings", "those of a worker are complete")
    except SettingsError as error:
        yield Finding("settings", "those of a worker are not", str(error))
    try:
        FunctionSettings.load()
        yield Finding("settings", "those of functions are complete")
    except SettingsError as error:
        yield Finding("settings", "those of functions are not", str(error))
    if settings := edge or worker:
        yield _asked("redis", lambda: _redis(settings))
    if worker:
        database_url = worker.database_url
        yield _asked("postgres", lambda: _postgres(database_url))
    if edge:
        yield _asked("sign-in", lambda: _signin(edge))
    yield _port(port)


def _asked(subject: str, ask: Callable[[], Finding]) -> Finding:
    try:
        return ask()
    except Exception as error:  # whatever a client library raises: the service did not answer
        reason = str(error).strip().splitlines()
        return Finding(subject, reason[0] if reason else type(error).__name__, _START)


def _python() -> Finding:
    version = ".".join(str(number) for number in sys.version_info[:3])
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Finding("python", version, None if fits else "use Python 3.11, 3.12 or 3.13")


def _redis(settings: QueueSettings) -> Finding:
    from redis import Redis

    with Redis.from_url(settings.redis_url, socket_timeout=3, socket_connect_timeout=3) as redis:
        facts = redis.info("server")
    version = str(facts.get("valkey_version") or facts["redis_version"])
    old = tuple(int(number) for number in version.split(".")[:2]) < _OLDEST_REDIS
    name = "Valkey" if "valkey_version" in facts else "Redis"
    return Finding("redis", f"{name} {version}", "use Redis 7 or newer, or Valkey" if old else None)


def _postgres(database_url: str) -> Finding:
    from infra.store.engine import make_engine
    from infra.store.migrate import pending

    engine = make_engine(database_url, pooled=True)
    try:
        with engine.connect() as conn:
            version = conn.exec_driver_sql("SHOW server_version").scalar_one()
            behind = pending(conn)
    finally:
        engine.dispose()
    if behind:
        return Finding("postgres", f"PostgreSQL {version}, not migrated", "run `bbgram migrate`")
    return Finding("postgres", f"PostgreSQL {version}, migrated")


def _signin(settings: EdgeSettings) -> Finding:
    if settings.supabase_jwt_secret and settings.auth_mode is AuthMode.LOCAL:
        return Finding("sign-in", "the legacy shared secret is used")
    import httpx

    response = httpx.get(settings.jwks_url, timeout=5)
    response.raise_for_status()
    keys = len(response.json()["keys"])
    advice = None if keys else "create a signing key in the project, or set BBGRAM_SUPABASE_JWT_SECRET"
    return Finding("sign-in", f"{keys} key(s) at {settings.jwks_url}", advice)


def _port(port: int) -> Finding:
    if is_free(port):
        return Finding("port", f"{port} is free")
    if http_ok(port, "/healthz")():
        return Finding("port", f"{port} is in use by an edge")
    return Finding("port", f"{port} is in use by something else", f"stop it, or set PORT={port + 100}")
