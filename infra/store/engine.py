"""Makes the SQLAlchemy engine, in one place and one way."""

from typing import Any

from sqlalchemy import Engine, create_engine

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_MS = 8_000


def make_engine(database_url: str, *, pooled: bool = False, pool_size: int = 2) -> Engine:
    """Return an engine for a `postgresql+psycopg://` address; connects on first use.

    `pooled` is for transaction-mode poolers: no server-side prepared statements, no start-up options.
    """
    connect: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S}
    if pooled:
        connect["prepare_threshold"] = None
    else:
        connect["options"] = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC"
    return create_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=0,
        connect_args=connect,
        hide_parameters=True,
    )
