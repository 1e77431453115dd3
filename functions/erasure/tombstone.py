"""What is left of an archived message once one of its two users is erased."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from functions.archive.message_file import ArchivedMessage


def is_note(message: ArchivedMessage, user_id: UUID) -> bool:
    """Return whether a message is a note of the user to self."""
    return message.sender_id == message.recipient_id == user_id


def has_traces(message: ArchivedMessage, user_id: UUID, began: datetime) -> bool:
    """Return whether a message has something of a user whose messages are being erased since a time.

    Somebody who comes back later writes new ones, which stay.
    """
    if message.created_at > _iso(began):
        return False
    if message.sender_id == user_id:
        return message.deleted_at is None or message.client_id is not None
    return any(reacting == str(user_id) for _, reacting in message.reactions or ())


def without_traces(
    message: ArchivedMessage, user_id: UUID, began: datetime, change: int | None
) -> ArchivedMessage:
    """Return the message without what it has of the user, as this change leaves it."""
    if message.sender_id != user_id:
        others = [pair for pair in message.reactions or () if pair[1] != str(user_id)]
        return msgspec.structs.replace(message, change=change, reactions=others or None)
    return msgspec.structs.replace(
        message,
        change=change,
        text="",
        data=None,
        client_id=None,
        reactions=None,
        deleted_at=message.deleted_at or _iso(began),
    )


def _iso(moment: datetime) -> str:
    """Return a time as the archive writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
