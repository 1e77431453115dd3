"""How workers reach Redis as Celery's broker."""

from typing import Any, Final

from celery.app.amqp import AMQP
from kombu.connection import Connection

_RETRY_S: Final = 1.0


class SteadyConnection(Connection):
    """Reconnects at a steady pace. Kombu would wait longer each time, up to 30 s after Redis is back."""

    def ensure_connection(self, *args: Any, **options: Any) -> "SteadyConnection":
        """Return when connected."""
        pace = {"interval_start": _RETRY_S, "interval_step": 0, "interval_max": _RETRY_S}
        super().ensure_connection(*args, **{**pace, **options})  # type: ignore[no-untyped-call]
        return self


class Broker(AMQP):  # type: ignore[misc]
    """Makes Celery use `SteadyConnection`."""

    Connection = SteadyConnection
