"""The one place where SQLAlchemy engines are made."""

from typing import Any, Final

from psycopg.types.string import TextLoader
from sqlalchemy import Connection, Engine, create_engine, event, text

CONNECT_TIMEOUT_S = 3
TIMEOUTS_MS: Final = {
    "statement_timeout": 8_000,
    "lock_timeout": 500,
    "idle_in_transaction_session_timeout": 5_000,
}
"""Statements wait only briefly for locks. A process that stalls in a transaction loses it and its locks."""

_SET_LOCAL = text("SELECT " + ", ".join(f"set_config('{name}', :{name}, true)" for name in TIMEOUTS_MS))


def make_engine(
    database_url: str,
    *,
    pooled: bool = False,
    pool_size: int = 2,
    timeouts: bool = True,
    for_batches: bool = False,
) -> Engine:
    """Return an engine for a `postgresql+psycopg://` address. It connects on first use.

    `pooled` is for transaction-mode poolers: no server-side prepared statements, no start-up options, and
    time-outs are set in each transaction. Without `timeouts`, statements may take any time.
    `for_batches` is for running the same few statements over and over: each is planned once for any number
    of rows, and a uuid is read as text, as it is on the wire.
    """
    connect: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S}
    limits = TIMEOUTS_MS if timeouts else {}
    if pooled:
        connect["prepare_threshold"] = None
    else:
        settings = {**limits, "timezone": "UTC"}
        if for_batches:
            settings["plan_cache_mode"] = "force_generic_plan"
        connect["options"] = " ".join(f"-c {name}={value}" for name, value in settings.items())
    engine = create_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=0,
        connect_args=connect,
        hide_parameters=True,
    )
    if pooled and timeouts:
        event.listen(engine, "begin", _set_timeouts)
    if for_batches:
        event.listen(engine, "connect", _read_uuids_as_text)
    return engine


def _set_timeouts(conn: Connection) -> None:
    """Set the time-outs of a transaction that begins."""
    conn.execute(_SET_LOCAL, {name: str(value) for name, value in TIMEOUTS_MS.items()})


def _read_uuids_as_text(connection: Any, _: object) -> None:
    connection.adapters.register_loader("uuid", TextLoader)
