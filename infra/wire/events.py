"""Payloads of the server events and acks that clients receive: JSON with camelCase names."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec

from infra.wire.commands import Box, ErasureMode, MessagesFrom, ShowPresence
from infra.wire.errors import ErrorCode, Failure

CONNECTION_SUCCESS: Final = "connection_success"
TEST_MESSAGE: Final = "test_message"
PING: Final = "ping"
MESSAGE_SENT: Final = "message_sent"
NEW_MESSAGE: Final = "new_message"
MESSAGE_CHANGED: Final = "message_changed"
CHAT_CHANGED: Final = "chat_changed"
UNREAD_CHANGED: Final = "unread_changed"
SETTINGS_CHANGED: Final = "settings_changed"
MESSAGE_STATUS: Final = "message_status"
TYPING: Final = "typing"
USER_STATUS: Final = "user_status"
ERROR: Final = "error"

Status = Literal["sent", "delivered", "read"]
Kind = Literal["system"]
"""What a message is, if it is not what a user wrote."""

AppData = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
"""A JSON object of the app."""

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""ISO 8601 in UTC with milliseconds, see `iso_ms`."""


class _Payload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class ConnectionSuccess(_Payload, frozen=True):
    """The first event of a connection. Times are ISO 8601 UTC with milliseconds."""

    user_id: str
    """Who the client is signed in as."""
    socket_id: str
    server_time: Time
    """The server's clock."""
    expires_at: Time
    """When the token expires."""
    username: str | msgspec.UnsetType = msgspec.UNSET
    """The name in the token, if it has one; the profile may have another."""


class TestMessage(_Payload, frozen=True):
    """Follows `connection_success`, so that a client can see that events arrive."""

    __test__ = False

    message: str
    timestamp: Time


class Ping(_Payload, frozen=True):
    """Application-level ping; the client may ack it."""

    timestamp: Time


class Reaction(_Payload, frozen=True):
    """An emoji, and who reacted to a message with it."""

    emoji: str
    user_ids: list[str]
    """In the order in which they did."""


class Quote(_Payload, frozen=True):
    """The message that another one answers, as it is now."""

    seq: int
    """Its position in the same chat."""
    sender_id: str | msgspec.UnsetType = msgspec.UNSET
    """Who wrote it. Missing if the message is in the archive or deleted."""
    sender_username: str | msgspec.UnsetType = msgspec.UNSET
    """The present name of who wrote it."""
    text: str | msgspec.UnsetType = msgspec.UNSET
    """Its first 200 characters; empty once it is unsent."""
    change: int | msgspec.UnsetType = msgspec.UNSET
    """The change that made it what it is, if there was one. Whoever knows a later one shows that."""
    deleted_at: Time | msgspec.UnsetType = msgspec.UNSET
    """When it was unsent, if it was."""
    kind: Kind | msgspec.UnsetType = msgspec.UNSET
    """As in `Message`."""


class Message(_Payload, frozen=True):
    """A stored message, the same in events, acks and pages. The version with the highest `change` counts."""

    id: str
    chat_id: str
    seq: int
    """Position in the chat, from 1, without holes."""
    sender_id: str
    sender_username: str
    """The present name of the sender, like that of the recipient."""
    recipient_id: str
    """The recipient; in a note to self, the sender."""
    recipient_username: str
    text: str
    """Empty if the message has only `data`, or is unsent."""
    created_at: Time
    """When it was stored."""
    status: Status
    """`sent`: committed; `delivered`: acked by a socket of the recipient; `read`."""
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    """The sender's own id of the message, if one was given."""
    data: AppData | msgspec.UnsetType = msgspec.UNSET
    """What the app added, as it came."""
    reply_to: Quote | msgspec.UnsetType = msgspec.UNSET
    """The message that this one answers."""
    change: int | msgspec.UnsetType = msgspec.UNSET
    """The change of the chat that made the message what it is; missing if nobody has changed it."""
    edited_at: Time | msgspec.UnsetType = msgspec.UNSET
    """When its sender last edited it."""
    deleted_at: Time | msgspec.UnsetType = msgspec.UNSET
    """When its sender unsent it: its text, `data` and reactions are gone."""
    reactions: list[Reaction] | msgspec.UnsetType = msgspec.UNSET
    """All reactions, in the order of their first; missing if there are none."""
    kind: Kind | msgspec.UnsetType = msgspec.UNSET
    """`system`: the app says it, in the chat of its sender. Missing if the sender wrote it."""


class MessageStatus(_Payload, frozen=True):
    """`user_id` has received (`delivered`) or read all messages up to `up_to`."""

    chat_id: str
    user_id: str
    """The user who received or read them: the peer, or this user on another socket."""
    status: Literal["delivered", "read"]
    up_to: int
    """Every message to the user up to this seq."""
    at: Time


class TypingStatus(_Payload, frozen=True):
    """`user_id` is typing in a chat, or has stopped."""

    chat_id: str
    user_id: str
    """The peer."""
    username: str
    is_typing: bool


class UserStatus(_Payload, frozen=True):
    """`user_id` came online or went offline."""

    user_id: str
    username: str
    status: Literal["online", "offline"]
    last_seen: Time | None
    """When they last came online or went offline; null if hidden."""


class ChatChanged(_Payload, frozen=True):
    """What a chat is like for the user alone, after they have changed it or a request came in."""

    chat_id: str
    cleared_up_to: int
    """Messages up to this seq are not shown to the user any more; 0 if nothing is cleared."""
    box: Box
    """Where the user has the chat. A `declined` one is only in the list of its own box."""
    pinned: bool
    """Whether it stands before the others in the inbox."""
    muted_until: Time | None
    """Until when this user gets no notifications of it. It may be in the past."""
    blocked: bool
    """Whether the user has blocked the other one."""


class UnreadChanged(_Payload, frozen=True):
    """How much a user has not read, in the chats of their inbox that are neither muted nor blocked."""

    total: int
    """How many messages they have not read."""
    chats: int
    """In how many chats. It stops at some hundreds, and `total` is the sum of these."""


class Settings(_Payload, frozen=True):
    """The settings of a user."""

    messages_from: MessagesFrom
    """Who may start a conversation with the user."""
    read_receipts: bool
    """Whether others see what the user has read."""
    show_presence: ShowPresence
    """Who sees whether the user is online."""
    push_texts: bool
    """Whether notifications show what messages say."""


class ErrorEvent(_Payload, frozen=True):
    """Payload of `error`, and `data` of a refused connection."""

    code: ErrorCode
    message: str
    """One sentence for people. It may change, so do not compare it."""
    retryable: bool
    """Whether the same request may succeed later."""
    event: str | msgspec.UnsetType = msgspec.UNSET
    """The event that failed; missing if the error is not about a known event."""
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    """The `client_id` of the request, if the server could read it."""
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET
    """When to try again, in milliseconds, if the server knows it."""


class ErrorAck(_Payload, frozen=True):
    """Ack of a request that failed."""

    error: str
    """One sentence for people. It may change, so do not compare it."""
    code: ErrorCode
    retryable: bool
    """Whether the same request may succeed later."""
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    """The `client_id` of the request, if the server could read it."""
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET
    """When to try again, in milliseconds, if the server knows it."""
    success: bool = False


class Peer(_Payload, frozen=True):
    """The other member of a chat, with their watermarks."""

    user_id: str
    username: str
    online: bool
    """Whether they have a socket anywhere; false as well if the caller is not to know."""
    last_seen: Time | None
    """When they last came online or went offline; null as well if the caller is not to know."""
    delivered_up_to: int
    """Up to which seq they have received everything, as far as the caller is to know."""
    read_up_to: int
    """Up to which seq they have read everything, as far as the caller is to know."""
    name: str | msgspec.UnsetType = msgspec.UNSET
    """What the app calls them, if it gave them a name besides `username`."""
    avatar_url: str | msgspec.UnsetType = msgspec.UNSET
    """Address of their picture, if they have one."""
    data: AppData | msgspec.UnsetType = msgspec.UNSET
    """What else the app says of them, as it came."""


class SendAck(_Payload, frozen=True):
    """Ack of `send_message`: the message is committed."""

    message: Message
    success: bool = True


class ChangeAck(_Payload, frozen=True):
    """Ack of `edit_message`, `unsend_message` and `react`: the change is committed."""

    message: Message
    """The message as it is now."""
    success: bool = True


class ClearAck(_Payload, frozen=True):
    """Ack of `clear_chat`."""

    cleared_up_to: int
    """Messages up to this seq are not shown to the user any more."""
    success: bool = True


class BlockAck(_Payload, frozen=True):
    """Ack of `block_user` and `unblock_user`."""

    chat_id: str
    """The chat of the two."""
    user_id: str
    username: str
    blocked: bool
    """Whether the user is blocked now."""
    success: bool = True


class BlockedUser(_Payload, frozen=True):
    """Somebody whom the user has blocked."""

    chat_id: str
    """The chat of the two."""
    user_id: str
    username: str
    blocked_at: Time
    name: str | msgspec.UnsetType = msgspec.UNSET
    """What the app calls them, if it gave them a name besides `username`."""
    avatar_url: str | msgspec.UnsetType = msgspec.UNSET
    """Address of their picture, if they have one."""
    data: AppData | msgspec.UnsetType = msgspec.UNSET
    """What else the app says of them, as it came."""


class BlockedAck(_Payload, frozen=True):
    """Ack of `list_blocked`."""

    users: list[BlockedUser]
    next_cursor: str | None
    """The `cursor` of the next page; null on the last one."""
    success: bool = True


class SettingsAck(_Payload, frozen=True):
    """Ack of `get_settings` and `update_settings`."""

    settings: Settings
    success: bool = True


class User(_Payload, frozen=True):
    """A user, as the app's own backend sees them."""

    user_id: str
    username: str
    created_at: Time
    """When they got a profile."""
    last_seen: Time | None
    """When they last came online or went offline; null if they never have."""
    name: str | msgspec.UnsetType = msgspec.UNSET
    """What the app calls them, if it gave them a name besides `username`."""
    avatar_url: str | msgspec.UnsetType = msgspec.UNSET
    """Address of their picture, if they have one."""
    data: AppData | msgspec.UnsetType = msgspec.UNSET
    """What else the app says of them, as it came."""


class UserAck(_Payload, frozen=True):
    """What the server API answers about a user."""

    user: User
    success: bool = True


class ChatAck(_Payload, frozen=True):
    """Ack of `accept_chat`, `decline_chat` and `set_chat`: what the chat is like for the user now."""

    chat: ChatChanged
    success: bool = True


class ReportAck(_Payload, frozen=True):
    """Ack of `report`: the copy is kept."""

    report_id: str
    """The same for every report of this message by this user."""
    success: bool = True


class SignOutAck(_Payload, frozen=True):
    """What the server API answers once a user is signed out everywhere."""

    signed_out_at: Time
    """Tokens that were issued until then are refused."""
    success: bool = True


class Left(_Payload, frozen=True):
    """Something that an erasure has not touched."""

    what: str
    why: str


class Manifest(_Payload, frozen=True):
    """What an erasure has done. It has no names and no texts: keep it as evidence."""

    user_id: str
    mode: ErasureMode
    complete: bool
    """False if it is not finished yet."""
    started_at: Time
    finished_at: Time | None
    counts: dict[str, dict[str, int]]
    """By store and kind. A message that was in several places counts in each."""
    left: list[Left]


class Erasure(_Payload, frozen=True):
    """The erasure of a user, and whether it is finished."""

    user_id: str
    mode: ErasureMode
    requested_at: Time
    finished_at: Time | None
    """Null as long as it goes on."""
    manifest: Manifest | msgspec.UnsetType = msgspec.UNSET
    """Once it is finished: what was erased, and what was not, and why."""


class ErasureAck(_Payload, frozen=True):
    """Answer to the request for an erasure."""

    erasure: Erasure
    success: bool = True


class KeptReport(_Payload, frozen=True):
    """A report as the app's own backend lists it: without anything that users have written to each other."""

    report_id: str
    created_at: Time
    reason: str
    """A word of the app's own."""
    reported_id: str
    """Id of the user who wrote the message."""
    reporter_id: str
    """Id of the user who reported it."""
    chat_id: str
    seq: int
    """The message."""
    closed_at: Time | None
    """When somebody was done with it; null while it is open."""


class ReportCopy(KeptReport, frozen=True):
    """A report with its private content."""

    note: str | None
    """What the reporter added."""
    messages: list[Message]
    """The reported one, last, and those before it, as the reporter saw them."""


class ReportsAck(_Payload, frozen=True):
    """A page of reports, newest first."""

    reports: list[KeptReport]
    next_cursor: str | None
    """The `cursor` of the next page; null on the last one."""
    success: bool = True


class KeptReportAck(_Payload, frozen=True):
    """What the server API answers about a report that it has closed."""

    report: KeptReport
    success: bool = True


class ReportCopyAck(_Payload, frozen=True):
    """What the server API answers about a report."""

    report: ReportCopy
    success: bool = True


class JoinAck(_Payload, frozen=True):
    """Ack of `join_chat`; the watermarks are the caller's own."""

    chat_id: str
    peer: Peer
    messages: list[Message]
    """The newest page, ascending by seq."""
    has_more: bool
    """Whether there are older messages."""
    delivered_up_to: int
    """The caller's own watermark."""
    read_up_to: int
    """The caller's own watermark."""
    change: int
    """The newest change of the chat when this was read: the messages here hold it and all before."""
    archived_before: int | msgspec.UnsetType = msgspec.UNSET
    """The messages just before this seq are in the archive."""
    cleared_up_to: int | msgspec.UnsetType = msgspec.UNSET
    """Messages up to this seq are cleared; missing if none are."""
    box: Box | msgspec.UnsetType = msgspec.UNSET
    """Where the caller has the chat; missing if it is the inbox."""
    pinned: bool | msgspec.UnsetType = msgspec.UNSET
    """True if it stands before the others in the inbox; else missing."""
    muted_until: Time | msgspec.UnsetType = msgspec.UNSET
    """Until when this user gets no notifications of it, maybe in the past; missing if it is not muted."""
    blocked: bool | msgspec.UnsetType = msgspec.UNSET
    """True if the caller has blocked the peer; else missing."""
    success: bool = True


class ReadAck(_Payload, frozen=True):
    """Ack of `mark_as_read`."""

    read_up_to: int
    """The new watermark."""
    unread: int
    """Messages to the user after it."""
    success: bool = True


class MessagesAck(_Payload, frozen=True):
    """Ack of `get_messages`; ascending by seq."""

    messages: list[Message]
    has_more: bool
    """Whether there are more messages in that direction: older, or newer with `after`."""
    change: int
    """The newest change of the chat when this was read: the messages here hold it and all before."""
    archived_before: int | msgspec.UnsetType = msgspec.UNSET
    """The messages just before this seq are in the archive."""
    success: bool = True


class ChatSummary(_Payload, frozen=True):
    """One row of `list_chats`."""

    chat_id: str
    peer: Peer
    last_message: Message | None
    """The newest message; null if there is none, or if it is in the archive or deleted."""
    unread: int
    """Messages to the user that they have not read."""
    read_up_to: int
    """The caller's own watermark."""
    delivered_up_to: int
    """The caller's own watermark."""
    last_seq: int
    """Seq of the newest message, even if it is in the archive or deleted; 0 if there was none."""
    change: int
    """The newest change of a message of the chat; 0 if there was none."""
    cleared_up_to: int | msgspec.UnsetType = msgspec.UNSET
    """Messages up to this seq are cleared; missing if none are."""
    box: Box | msgspec.UnsetType = msgspec.UNSET
    """Where the caller has the chat; missing if it is the inbox."""
    pinned: bool | msgspec.UnsetType = msgspec.UNSET
    """True if it stands before the others in the inbox; else missing."""
    muted_until: Time | msgspec.UnsetType = msgspec.UNSET
    """Until when this user gets no notifications of it, maybe in the past; missing if it is not muted."""
    blocked: bool | msgspec.UnsetType = msgspec.UNSET
    """True if the caller has blocked the peer; else missing."""


class ChatsAck(_Payload, frozen=True):
    """Ack of `list_chats`."""

    chats: list[ChatSummary]
    next_cursor: str | None
    """The `cursor` of the next page; null on the last one."""
    since: str | msgspec.UnsetType = msgspec.UNSET
    """If the request had one: what to send when the client wants to know what has changed since now."""
    success: bool = True


class ChatGap(_Payload, frozen=True):
    """What a client missed in one chat."""

    chat_id: str
    messages: list[Message]
    """The messages after the cursor, ascending by seq, without a hole."""
    has_more: bool
    """Whether there are more after these."""
    change: int
    """The newest change of the chat when this was read: the messages here hold it and all before."""
    archived_before: int | msgspec.UnsetType = msgspec.UNSET
    """The messages just before this seq are in the archive: continue from here."""
    changes: list[Message] | msgspec.UnsetType = msgspec.UNSET
    """If the cursor has a `change`: the messages up to its seq that have changed since, in that order."""
    has_more_changes: bool | msgspec.UnsetType = msgspec.UNSET
    """With `changes`: whether there are more after these. If so, `change` is that of the last one here."""
    cleared_up_to: int | msgspec.UnsetType = msgspec.UNSET
    """Messages up to this seq are cleared; missing if none are."""


class SyncAck(_Payload, frozen=True):
    """Ack of `sync`."""

    chats: list[ChatGap]
    """The chats with something newer than their cursors, newest activity first."""
    gone: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Chats in the request that do not exist, or of which the user is no member."""
    success: bool = True


class RefreshAck(_Payload, frozen=True):
    """Ack of `refresh_token`. `username` is the name in the new token, as in `connection_success`."""

    expires_at: Time
    """When the new token expires."""
    username: str | msgspec.UnsetType = msgspec.UNSET
    success: bool = True


class DeviceAck(_Payload, frozen=True):
    """Ack of `register_device`."""

    device_id: str
    success: bool = True


class Done(_Payload, frozen=True):
    """Ack of a request that returns nothing."""

    success: bool = True


@lru_cache(maxsize=1_000)
def iso_ms(moment: datetime) -> str:
    """Render an aware datetime as ISO 8601 UTC with milliseconds, e.g. `2026-01-31T12:00:00.000Z`.

    What is stored together has one time, which is rendered once.
    """
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


SIGNED_OUT: Final = "You were signed out everywhere. Sign in again."


def signed_out() -> ErrorEvent:
    """Return what sockets hear when their user is signed out everywhere."""
    return error_event(Failure.of(ErrorCode.UNAUTHORIZED, SIGNED_OUT))


def error_ack(failure: Failure) -> ErrorAck:
    """Render a failure as the ack of the request that failed."""
    return ErrorAck(
        error=failure.message,
        code=failure.code,
        retryable=failure.code.retryable,
        client_id=failure.client_id or msgspec.UNSET,
        retry_after_ms=failure.retry_after_ms or msgspec.UNSET,
    )
