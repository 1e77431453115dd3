"""The hook before sending: what workers ask the app's backend about messages, and what it answers."""

from typing import Any

import msgspec


class HookMessage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A message that a user wants to send, or an edit."""

    id: str
    """Of the request. A message that is stored has it."""
    sender_id: str
    recipient_id: str
    text: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The app's JSON object. An edit without it keeps what the message has; null removes that."""
    chat_id: str | None = None
    """Their chat; missing if they have none yet."""
    reply_to: int | None = None
    """Seq of the message that this one answers."""
    client_id: str | None = None
    """The client's own id."""
    is_edit: bool = False
    """Whether this is the new text of a message that is there already."""
    seq: int | None = None
    """Of the message that is edited."""


class HookRequest(msgspec.Struct, frozen=True):
    """The body of a request: all messages of a batch. None of them if only the endpoint is checked."""

    messages: list[HookMessage]


class _Result(msgspec.Struct, frozen=True, tag_field="action", tag=str.lower):
    pass


class Accept(_Result, frozen=True):
    """The message is stored as it is."""


class Change(_Result, frozen=True):
    """It is stored with another text or `data`; what is left out stays."""

    text: str | msgspec.UnsetType = msgspec.UNSET
    data: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    """Null removes it."""


class Refuse(_Result, frozen=True):
    """It is not stored."""

    reason: str | None = None
    """One line for its sender."""


# The body of an answer is {"results": [...]}, with one of these for each message, in their order.
Result = Accept | Change | Refuse
