"""Exceptions that functions raise.

The messages end up in logs, so they never quote a message text, an address or a token.
"""


class FunctionError(Exception):
    """Base class of the errors below."""


class ArchiveError(FunctionError):
    """An object in the archive is not what was written. The message is one line that names the object."""


class ErasureRefused(FunctionError):
    """A user's data cannot be erased, or exported, as asked. The message says why, in one line."""


class DeviceGone(FunctionError):
    """The device will never receive a notification again and should be removed."""


class TryLater(FunctionError):
    """Sending failed for now. `after_s` is the pause that the other side asked for, if it named one."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class ServiceBusy(TryLater):
    """The service asks us to slow down: nothing else is sent through this channel meanwhile."""


class NoticeRefused(FunctionError):
    """The other side does not accept this notice for this device, and would not the next time."""


class EventsRefused(FunctionError):
    """An endpoint of webhooks answers, but does not accept these events. Others may fare better."""


class ChannelMisconfigured(NoticeRefused):
    """It does not accept our key, our credentials or our sender. Somebody must change a setting."""


class TriesExhausted(FunctionError):
    """A notification failed on its last try, reached no device, and is now a dead letter."""


class AddressRefused(FunctionError):
    """An address must not be contacted, now or later: it is malformed, not public, or it redirects."""


class QueueRefused(FunctionError):
    """SQS did not accept some of the notifications."""


class UnreadableBody(FunctionError):
    """The body of an SQS message is not one of ours. Retrying cannot help."""
