"""Connections to Postgres that are given up when the server, or the network, is silent for too long."""

from typing import Any, Final

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.errors import _WaitTimeout
from psycopg.pq import TransactionStatus

KEEPALIVE: Final = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5_000,
}
"""libpq's parameters, in seconds, but the last in ms: how soon the system notices a peer that has vanished.
Systems that do not know one ignore it."""


class LimitedConnection(psycopg.Connection[Any]):
    """A connection whose every wait for the server has a limit, and that is closed if a wait is interrupted.

    The system cannot tell a slow server from one that has hung, or from a proxy that goes on acknowledging
    packets for a server that is gone. A connection that has waited too long is closed: its state is unknown.
    """

    limit_s: float | None = None
    """None for no limit. It must exceed the server's own `statement_timeout`."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer. Raises psycopg.OperationalError if there is none in time, or if interrupted."""
        try:
            return super().wait(gen, interval, self.limit_s if timeout is None else timeout)
        except _WaitTimeout as error:
            if timeout is not None:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.limit_s:g} s") from error
        except Exception as error:
            # An error of the server leaves no statement running; an exception from a signal handler does.
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"interrupted by {type(error).__name__}") from error
