"""The log channel."""

from structlog.testing import capture_logs

from functions.channels.log import LogChannel
from tests.integration.channels.secrecy import NOTICE, device, is_discreet


def test_the_log_says_who_has_written_and_not_what() -> None:
    with capture_logs() as events:
        LogChannel().send(device("log", "the console of bea"), NOTICE)
    assert events == [
        {
            "event": "notification",
            "log_level": "info",
            "notification": str(NOTICE.id),
            "user": "00000000-0000-0000-0000-000000000008",
            "count": 3,
            "senders": ["bea", "carl"],
        }
    ]
    assert is_discreet(str(events), "the console of bea")
