"""Notifications in the log, for trying things out. They say who has written, and never what."""

import structlog

from functions.channels.channel import Device, Notice

log = structlog.get_logger(__name__)


class LogChannel:
    """Writes one event a notification."""

    def send(self, device: Device, notice: Notice) -> None:
        """Log it, without its title and body."""
        log.info(
            "notification",
            notification=str(notice.id),
            user=str(device.user_id),
            count=notice.count,
            senders=list(notice.senders),
        )
