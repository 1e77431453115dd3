"""A notice full of secrets, and a check that none of them gets out."""

import traceback
from dataclasses import replace
from uuid import UUID

from functions.channels.channel import Device, Notice
from functions.digest import farewell

NOTICE = Notice(
    id=UUID("0197a1b2-0000-7000-8000-000000000001"),
    title="Title of BB-Gram",
    body="the secret words",
    count=3,
    senders=("bea", "carl"),
    chat_ids=(UUID("0197a1b2-0000-7000-8000-00000000c0de"),),
    unread=7,
)
REPLACEMENT = farewell(NOTICE.id, NOTICE.chat_ids, unread=0)
LONG_NOTICE = replace(NOTICE, body='ä\n"😀' * 1_000)


def device(channel: str, address: str, **fields: str | None) -> Device:
    """Return a device of some user."""
    return Device(UUID(int=7), UUID(int=8), channel, address, **fields)


def is_discreet(text: str, *secrets: str) -> bool:
    """Return whether a text contains neither the notice nor any of the secrets."""
    return not any(secret in text for secret in (NOTICE.title, NOTICE.body, *secrets))


def printed(error: BaseException) -> str:
    """Return what a log with a traceback would show."""
    return "".join(traceback.format_exception(error))
