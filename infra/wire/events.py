"""Payloads of the server events and acks that clients receive: JSON with camelCase names."""

from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from infra.wire.errors import ErrorCode, Failure

CONNECTION_SUCCESS: Final = "connection_success"
TEST_MESSAGE: Final = "test_message"
PING: Final = "ping"
MESSAGE_SENT: Final = "message_sent"
NEW_MESSAGE: Final = "new_message"
MESSAGE_STATUS: Final = "message_status"
TYPING: Final = "typing"
USER_STATUS: Final = "user_status"
ERROR: Final = "error"

Status = Literal["sent", "delivered", "read"]


class _Payload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class ConnectionSuccess(_Payload, frozen=True):
    """The first event of a connection. Times are ISO 8601 UTC with milliseconds."""

    user_id: str
    socket_id: str
    server_time: str
    expires_at: str
    username: str | msgspec.UnsetType = msgspec.UNSET


class TestMessage(_Payload, frozen=True):
    """Follows `connection_success`, so that a client can see that events arrive."""

    __test__ = False

    message: str
    timestamp: str


class Ping(_Payload, frozen=True):
    """Application-level ping; the client may ack it."""

    timestamp: str


class Message(_Payload, frozen=True):
    """A stored message, the same in events, acks and pages."""

    id: str
    chat_id: str
    seq: int
    sender_id: str
    sender_username: str
    recipient_id: str
    recipient_username: str
    text: str
    created_at: str
    status: Status
    client_id: str | msgspec.UnsetType = msgspec.UNSET


class MessageStatus(_Payload, frozen=True):
    """`user_id` has received (`delivered`) or read all messages up to `up_to`."""

    chat_id: str
    user_id: str
    status: Literal["delivered", "read"]
    up_to: int
    at: str


class TypingStatus(_Payload, frozen=True):
    """`user_id` is typing in a chat, or has stopped."""

    chat_id: str
    user_id: str
    username: str
    is_typing: bool


class UserStatus(_Payload, frozen=True):
    """`user_id` came online or went offline."""

    user_id: str
    username: str
    status: Literal["online", "offline"]
    last_seen: str | None


class ErrorEvent(_Payload, frozen=True):
    """Payload of `error`, and `data` of a refused connection."""

    code: ErrorCode
    message: str
    retryable: bool
    event: str | msgspec.UnsetType = msgspec.UNSET
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET


class ErrorAck(_Payload, frozen=True):
    """Ack of a request that failed."""

    error: str
    code: ErrorCode
    retryable: bool
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET
    success: bool = False


class Peer(_Payload, frozen=True):
    """The other member of a chat, with their watermarks."""

    user_id: str
    username: str
    online: bool
    last_seen: str | None
    delivered_up_to: int
    read_up_to: int


class SendAck(_Payload, frozen=True):
    """Ack of `send_message`: the message is committed."""

    message: Message
    success: bool = True


class JoinAck(_Payload, frozen=True):
    """Ack of `join_chat`; the watermarks are the caller's own."""

    chat_id: str
    peer: Peer
    messages: list[Message]
    has_more: bool
    delivered_up_to: int
    read_up_to: int
    archived_before: int | msgspec.UnsetType = msgspec.UNSET
    success: bool = True


class ReadAck(_Payload, frozen=True):
    """Ack of `mark_as_read`."""

    read_up_to: int
    unread: int
    success: bool = True


class MessagesAck(_Payload, frozen=True):
    """Ack of `get_messages`; ascending by seq."""

    messages: list[Message]
    has_more: bool
    archived_before: int | msgspec.UnsetType = msgspec.UNSET
    """The messages just before this seq are in the archive."""
    success: bool = True


class ChatSummary(_Payload, frozen=True):
    """One row of `list_chats`."""

    chat_id: str
    peer: Peer
    last_message: Message | None
    unread: int
    read_up_to: int
    delivered_up_to: int
    last_seq: int
    """Seq of the newest message, even if it is in the archive or deleted; 0 if there was none."""


class ChatsAck(_Payload, frozen=True):
    """Ack of `list_chats`."""

    chats: list[ChatSummary]
    next_cursor: str | None
    since: str | msgspec.UnsetType = msgspec.UNSET
    """If the request had one: what to send when the client wants to know what has changed since now."""
    success: bool = True


class ChatGap(_Payload, frozen=True):
    """What a client missed in one chat."""

    chat_id: str
    messages: list[Message]
    has_more: bool
    archived_before: int | msgspec.UnsetType = msgspec.UNSET


class SyncAck(_Payload, frozen=True):
    """Ack of `sync`."""

    chats: list[ChatGap]
    gone: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Chats in the request that do not exist, or of which the user is no member."""
    success: bool = True


class RefreshAck(_Payload, frozen=True):
    """Ack of `refresh_token`. `username` is the name in the new token, as in `connection_success`."""

    expires_at: str
    username: str | msgspec.UnsetType = msgspec.UNSET
    success: bool = True


class DeviceAck(_Payload, frozen=True):
    """Ack of `register_device`."""

    device_id: str
    success: bool = True


class Done(_Payload, frozen=True):
    """Ack of a request that returns nothing."""

    success: bool = True


def iso_ms(moment: datetime) -> str:
    """Render an aware datetime as ISO 8601 UTC with milliseconds, e.g. `2026-01-31T12:00:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def send_ack(message: msgspec.Raw) -> msgspec.Raw:
    """Render a `SendAck` around a rendered `Message`."""
    return msgspec.Raw(b'{"message":%b,"success":true}' % message)


def error_event(failure: Failure, event: str | None = None) -> ErrorEvent:
    """Render a failure as the payload of an `error` event."""
    return ErrorEvent(
        code=failure.code,
        message=failure.message,
        retryable=failure.code.retryable,
        event=event or msgspec.UNSET,
        client_id=failure.client_id or msgspec.UNSET,
        retry_after_ms=failure.retry_after_ms or msgspec.UNSET,
    )


def error_ack(failure: Failure) -> ErrorAck:
    """Render a failure as the ack of the request that failed."""
    return ErrorAck(
        error=failure.message,
        code=failure.code,
        retryable=failure.code.retryable,
        client_id=failure.client_id or msgspec.UNSET,
        retry_after_ms=failure.retry_after_ms or msgspec.UNSET,
    )
