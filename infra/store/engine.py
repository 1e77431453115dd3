"""The one place where SQLAlchemy engines are made, and the way past them."""

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from psycopg import Error, OperationalError, errors
from psycopg.types.string import TextLoader
from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    ExceptionContext,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.exc import DBAPIError

from infra.metrics.common import POSTGRES_ERRORS
from infra.settings.store import SCHEMA
from infra.store.connection import KEEPALIVE, LimitedConnection

CONNECT_TIMEOUT_S = 3
TIMEOUTS_MS: Final = {
    "statement_timeout": 8_000,
    "lock_timeout": 500,
    "idle_in_transaction_session_timeout": 5_000,
}
"""Statements wait only briefly for locks. A process that stalls in a transaction loses it and its locks."""

_PLANS_OF_BATCHES: Final = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
_TRAVEL_S: Final = 1.0
"""How long an answer may travel: so much longer than `statement_timeout` is waited for it."""

_FOR_EVER: Final = "0"
"""What ends a limit of libpq in an address. Ours stays then."""

_UNITS_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"'?\s*(0[xX][\da-fA-F]+|\+?[\d.]+(?:[eE][+-]?\d+)?)\s*(us|ms|s|min|h|d)?\s*'?")
_WRITTEN = re.compile(r"(?:-c\s*|--)([\w.-]+)=((?:\\.|[^\s\\])*)")
"""A server setting in libpq's `options`."""

_KINDS: Final[dict[str, tuple[type[Exception], ...]]] = {
    "timeout": (errors.QueryCanceled,),
    "lock": (errors.LockNotAvailable,),
    "deadlock": (errors.DeadlockDetected, errors.SerializationFailure),
    "conflict": (errors.UniqueViolation,),
}
"""What errors count as."""

_SET_ALL = text(
    """
    SELECT set_config(name, value, true)
    FROM unnest(CAST(:names AS text[]), CAST(:values AS text[])) AS settings (name, value)
    """
)


def make_engine(
    database_url: str,
    *,
    schema: str = SCHEMA,
    pooled: bool = False,
    pool_size: int = 2,
    timeouts: bool = True,
    for_batches: bool = False,
) -> Engine:
    """Return an engine for a `postgresql+psycopg://` address. It connects on first use.

    Statements find their tables in `schema`. Server settings in the `options` of the address win over ours;
    a `search_path` there follows `schema`. A server that is silent for longer than a statement may take is
    given up; where the address ends that time (`statement_timeout=0`), ours stays the measure.

    `pooled` is for transaction-mode poolers: no server-side prepared statements, and server settings, also
    those of the address, are set in each transaction. Anything else in `options` is left to the pooler.
    Without `timeouts`, statements may take any time, unless the address limits it.
    `for_batches` is for running the same few statements over and over: each is planned once for any number
    of rows, so by indexes, even if tables are still empty then; and a uuid is read as text, as on the wire.
    """
    url = make_url(database_url)
    options = _options(url)
    written = {name.replace("-", "_").lower(): value for name, value in _WRITTEN.findall(options)}
    settings: dict[str, Any] = TIMEOUTS_MS if timeouts else {}
    settings = {name: value for name, value in settings.items() if name not in written}
    settings["search_path"] = ",".join(filter(None, (schema, written.get("search_path"))))
    connect: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, **KEEPALIVE}
    connect = {name: value for name, value in connect.items() if url.query.get(name, _FOR_EVER) == _FOR_EVER}
    if pooled:
        connect["prepare_threshold"] = None
        connect["options"] = _WRITTEN.sub("", options).strip()
    else:
        defaults = {"timezone": "UTC", **(_PLANS_OF_BATCHES if for_batches else {})}
        connect["options"] = " ".join((_render(defaults), options, _render(settings))).strip()
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        connect_args=connect,
        hide_parameters=True,
    )
    default_s = TIMEOUTS_MS["statement_timeout"] / 1_000 if timeouts else None
    timeout_s = _seconds(written.get("statement_timeout", "")) or default_s
    _connect_with_limit(engine, timeout_s and timeout_s + _TRAVEL_S)
    if pooled:
        _set_in_each_transaction(engine, {**written, **settings})
    event.listen(engine, "handle_error", _handle_error)
    if for_batches:
        event.listen(engine, "connect", _read_uuids_as_text)
    return engine


def _seconds(timeout: str) -> float | None:
    """Return the seconds that a `statement_timeout` stands for; None or 0 if it says nothing."""
    found = _DURATION.fullmatch(re.sub(r"\\(.)", r"\1", timeout))
    if found is None:
        return None
    number, unit = found.groups()
    try:
        return (int(number, 16) if "x" in number.lower() else float(number)) * _UNITS_S[unit or "ms"]
    except ValueError:
        return None


def _options(url: URL) -> str:
    """Return the `options` that libpq would use: those of the address, or else of the environment."""
    written = url.query.get("options", os.environ.get("PGOPTIONS", ""))
    return written if isinstance(written, str) else " ".join(written)


def _render(settings: dict[str, Any]) -> str:
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def _set_in_each_transaction(engine: Engine, settings: dict[str, Any]) -> None:
    # Options may escape characters, which libpq would undo.
    values = [re.sub(r"\\(.)", r"\1", str(value)) for value in settings.values()]
    parameters = {"names": list(settings), "values": values}

    def set_all(conn: Connection) -> None:
        conn.execute(_SET_ALL, parameters)

    event.listen(engine, "begin", set_all)


def _connect_with_limit(engine: Engine, limit_s: float | None) -> None:
    def connect(_: Dialect, __: object, args: list[Any], options: dict[str, Any]) -> LimitedConnection:
        connection = LimitedConnection.connect(*args, **options)
        connection.limit_s = limit_s
        return connection

    event.listen(engine, "do_connect", connect)


def _read_uuids_as_text(connection: Any, _: object) -> None:
    connection.adapters.register_loader("uuid", TextLoader)


def fetch(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement in psycopg's own format, without SQLAlchemy, and return its rows.

    For the statements that messages and receipts wait for: SQLAlchemy adds up to a quarter to their time.
    What fails is counted and raised as by SQLAlchemy, as DBAPIError, and a connection that broke is given up.
    """
    connection: Any = conn.connection.driver_connection
    try:
        rows: list[tuple[Any, ...]] = connection.execute(statement, parameters).fetchall()
    except Error as error:
        is_gone = _is_gone(error) or conn.dialect.is_disconnect(error, connection, None)  # type: ignore[arg-type]
        _count(error, is_gone)
        if is_gone:
            conn.invalidate(error)
            # The others were made for the same server.
            conn.engine.dispose()
        raise DBAPIError.instance(
            statement, None, error, Error, hide_parameters=True, connection_invalidated=is_gone
        ) from error
    return rows


def _handle_error(context: ExceptionContext) -> None:
    error = context.original_exception
    context.is_disconnect |= _is_gone(error)
    _count(error, context.is_disconnect)


def _is_gone(error: BaseException) -> bool:
    """Tell whether the server is a standby now, or was told to write no more: another may be the primary."""
    return isinstance(error, errors.ReadOnlySqlTransaction)


def _count(error: BaseException, is_gone: bool) -> None:
    kind = next((kind for kind, types in _KINDS.items() if isinstance(error, types)), "other")
    if is_gone or (isinstance(error, OperationalError) and error.sqlstate is None):
        kind = "connection"
    POSTGRES_ERRORS.labels(kind).inc()
