"""How workers reach Redis as Celery's broker."""

from typing import Any, Final

import structlog
from celery.app.amqp import AMQP
from celery.bootsteps import StartStopStep
from kombu.connection import Connection

from infra.outage import REDIS_PORT, Outage, address_of, reason
from infra.pulse import PULSE

log = structlog.get_logger(__name__)

_RETRY_S: Final = 1.0
_PULSE_S: Final = 2.0


class SteadyConnection(Connection):
    """Reconnects at a steady pace, and says once that it has to.

    Kombu would wait longer each time, up to 30 s after Redis is back, and Celery would log every try.
    """

    def ensure_connection(self, errback: object = None, *args: Any, **options: Any) -> "SteadyConnection":
        """Return when connected."""
        outage = Outage("queue")

        def note(error: BaseException, _: float) -> None:
            PULSE.beat()
            if outage.begins():
                # One address; several if they are those of Sentinels.
                urls = self.alt or [self.as_uri()]
                address = ",".join(address_of(url, REDIS_PORT) for url in urls)
                log.warning("queue_unreachable", address=address, error=reason(error))

        pace = {"interval_start": _RETRY_S, "interval_step": 0, "interval_max": _RETRY_S}
        super().ensure_connection(note, *args, **{**pace, **options})  # type: ignore[no-untyped-call]
        outage.ends()
        return self


class PulseStep(StartStopStep):  # type: ignore[misc]
    """Has the event loop of a worker beat the pulse, from each connection on."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        """Called by Celery when it is connected."""
        PULSE.beat()
        consumer.hub.call_repeatedly(_PULSE_S, PULSE.beat)


class Broker(AMQP):  # type: ignore[misc]
    """Makes Celery use `SteadyConnection`."""

    Connection = SteadyConnection
