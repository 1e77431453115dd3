"""Logs notices, for trying things out. A log line says who has written, never what."""

from typing import ClassVar

import structlog

from functions.channels.channel import Device, Notice

log = structlog.get_logger(__name__)


class LogChannel:
    """Writes one log event per notice."""

    replaces: ClassVar = False

    def send(self, device: Device, notice: Notice) -> None:
        """Log the notice without its title and body."""
        log.info(
            "notification",
            notification=str(notice.id),
            user=str(device.user_id),
            count=notice.count,
            senders=list(notice.senders),
        )
