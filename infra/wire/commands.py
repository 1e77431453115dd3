"""Payloads of commands: what clients ask for, and the few requests that edges make themselves.

Workers decode client payloads into these structs once and strictly, without coercing types. Unknown
fields are ignored, so that a newer client can talk to an older server. `registry` lists the commands.
"""

from datetime import datetime
from typing import Annotated, Final, Literal, get_args
from uuid import UUID

import msgspec

from infra.wire.languages import LANGUAGE_CHARS

Limit = Annotated[int, msgspec.Meta(ge=1)]
"""Requested page size. The server caps it at its maximum."""

Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Position of a message in its chat, starting at 1. 0 is the position before the first message."""

MicrosecondsSinceEpoch = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999_999)]
"""A time until the end of the year 9999."""

MAX_SPELLING: Final = 512
"""Characters of a user name as a client writes it, however short the name is (`infra.store.profiles`)."""

Username = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SPELLING)]
ClientId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]

DATA_BYTES: Final = 4_096
"""Longest `data` of a message, in bytes of UTF-8, as the client wrote it."""

Data = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["object", "null"]})]
"""A JSON object of the app, stored and returned as it came, to the last byte. Null is the same as none."""


DisplayName = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+$(?!\n)"
    ),
]
"""One line, without control characters and what changes the direction of text."""
AvatarUrl = Annotated[str, msgspec.Meta(max_length=2_000, pattern=r"^https://[!-~]+$(?!\n)")]
"""As browsers write it: printable ASCII."""


class _Command(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class WithData(_Command, frozen=True, kw_only=True):
    """A command with `data`. Raw JSON could be anything, so it is checked once it is decoded."""

    data: Data | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.data is msgspec.UNSET or (written := bytes(self.data)) == b"null":
            return
        if not written.startswith(b"{"):
            raise ValueError("`data` must be an object")
        if len(written) > DATA_BYTES:
            raise ValueError(f"`data` is longer than {DATA_BYTES} bytes")
        try:
            msgspec.json.decode(written)  # Raw is not: what nobody can read would fail whoever tries to
        except (ValueError, RecursionError) as error:
            raise ValueError(
                "`data` holds text that is not valid Unicode, or a number out of range"
            ) from error

    @property
    def data_text(self) -> str | None:
        """`data` as it came, or None if there is none."""
        if self.data is msgspec.UNSET or (written := bytes(self.data)) == b"null":
            return None
        return written.decode()


class Auth(msgspec.Struct, frozen=True):
    """What a client connects with."""

    token: str
    """The access token of the signed-in user."""


class SendMessage(WithData, frozen=True, kw_only=True):
    """Send a message to a user, named by `username` or `user_id`. `client_id` makes a retry safe."""

    username: Username | None = None
    """The recipient. Case does not matter."""
    user_id: UUID | None = None
    """The recipient, whatever they are called. It wins over `username`."""
    text: str = ""
    """At least one visible character, unless there is `data`."""
    data: Data | msgspec.UnsetType = msgspec.UNSET
    """Anything else that the app wants to say: a JSON object."""
    reply_to: Seq | None = None
    """Seq of the message of this chat that this one answers."""
    client_id: ClientId | None = None
    """The client's own id for this message, unique per sender, across all chats."""


class SendSystemMessage(SendMessage, frozen=True, kw_only=True):
    """Have the app say something in the chat of two users. It is stored as the user's who acts."""


class EditMessage(WithData, frozen=True, kw_only=True):
    """Edit one of the user's own messages: its text, and its `data` if given."""

    chat_id: UUID
    seq: Seq
    """The message."""
    text: str
    """The new text. At least one visible character, unless there is `data`."""
    data: Data | msgspec.UnsetType = msgspec.UNSET
    """The new `data`; null removes it. Without it, the message keeps what it has."""
    client_id: ClientId | None = None
    """The client's own id for this edit: a retry that comes after a later edit changes nothing."""


class UnsendMessage(_Command, frozen=True):
    """Take back one of the user's own messages: its text and `data` are erased."""

    chat_id: UUID
    seq: Seq
    """The message."""


class React(_Command, frozen=True):
    """React to a message with an emoji, or remove the reaction."""

    chat_id: UUID
    seq: Seq
    """The message."""
    emoji: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    """One emoji: any character or sequence that Unicode calls one."""
    on: bool
    """True adds the reaction, false removes it."""


class ClearChat(_Command, frozen=True):
    """Hide the chat's messages up to `up_to` from the user, by default all that it has now."""

    chat_id: UUID
    up_to: Seq | None = None
    """The last seq that is cleared. Pass it: without it, messages that nobody has seen yet go as well."""


class JoinChat(_Command, frozen=True):
    """Open the chat with a user, named by `username` or `user_id`; create it if there is none."""

    username: Username | None = None
    """The other user. Case does not matter."""
    user_id: UUID | None = None
    """The other user, whatever they are called. It wins over `username`."""
    limit: Limit | None = None
    """How many messages."""


class MarkAsRead(_Command, frozen=True):
    """Move the reader's watermark to `up_to`, by default to the end of the chat."""

    chat_id: UUID
    up_to: Seq | None = None
    """The last seq that was read. Pass it: without it, messages that nobody has seen yet are marked too."""


class GetMessages(_Command, frozen=True):
    """Read a page of history before or after a seq, by default the newest page."""

    chat_id: UUID
    before: Seq | None = None
    """Only messages with a smaller seq, the newest of them."""
    after: Seq | None = None
    """Only messages with a greater seq, the oldest of them."""
    limit: Limit | None = None
    """How many messages."""


Box = Literal["inbox", "archived", "requests", "declined"]
"""Where a user has a chat: among their own, put away, waiting to be accepted, or declined."""


class ListChats(_Command, frozen=True):
    """List the user's chats, most recent activity first; in the inbox, pinned ones come before the others."""

    box: Box | None = None
    """Only the chats in this box. Without it, those of the inbox and archived ones, pinned or not."""
    cursor: str | None = None
    """`nextCursor` of the previous page."""
    limit: Limit | None = None
    """How many chats."""
    since: Annotated[datetime, msgspec.Meta(tz=True)] | msgspec.UnsetType | None = msgspec.UNSET
    """`since` of an earlier ack: leave out chats in which nothing has happened or changed since then.

    Null asks for the first one.
    """


class Cursor(_Command, frozen=True):
    """How far a client is in a chat."""

    seq: Seq
    """The last seq up to which it has everything."""
    change: Seq = 0
    """The last change of the chat up to which it has every change."""
    cleared_up_to: Seq = 0
    """The last seq that it knows to be cleared."""


class Sync(_Command, frozen=True):
    """Ask for everything newer than the client's cursor in each chat."""

    cursors: dict[UUID, Seq | Cursor]
    """For each chat that the client knows, how far it is. A seq alone asks for messages, not for changes."""
    only: bool = False
    """Leave out chats without a cursor."""


class Typing(_Command, frozen=True):
    """Tell the other user that this one is typing, or has stopped."""

    is_typing: bool
    username: Username | None = None
    """The peer. Not together with `chat_id`."""
    user_id: UUID | None = None
    """The peer, whatever they are called. It wins over `username`."""
    chat_id: UUID | None = None
    """The chat. It wins over `user_id`."""


class BlockUser(_Command, frozen=True):
    """Block a user, named by `username` or `user_id`: neither hears from the other any more."""

    username: Username | None = None
    """The user. Case does not matter."""
    user_id: UUID | None = None
    """The user, whatever they are called. It wins over `username`."""


class UnblockUser(_Command, frozen=True):
    """Remove a block."""

    username: Username | None = None
    """The user. Case does not matter."""
    user_id: UUID | None = None
    """The user, whatever they are called. It wins over `username`."""


class ListBlocked(_Command, frozen=True):
    """List the users whom the user has blocked, most recently blocked first."""

    cursor: str | None = None
    """`nextCursor` of the previous page."""
    limit: Limit | None = None
    """How many users."""


MessagesFrom = Literal["everyone", "requests", "nobody"]
ShowPresence = Literal["everyone", "chats", "nobody"]


class GetSettings(_Command, frozen=True):
    """Read the user's own settings."""


class UpdateSettings(_Command, frozen=True):
    """Change the user's own settings: those that are given."""

    messages_from: MessagesFrom | None = None
    """Who may start a conversation with the user. With `requests`, strangers wait until they are accepted."""
    read_receipts: bool | None = None
    """Whether others see what the user has read."""
    show_presence: ShowPresence | None = None
    """Who sees whether the user is online. `chats`: those with whom both have written."""
    push_texts: bool | None = None
    """Whether notifications show what messages say."""


class AcceptChat(_Command, frozen=True):
    """Accept a message request: the chat moves to the inbox."""

    chat_id: UUID


class DeclineChat(_Command, frozen=True):
    """Decline a message request: the chat moves to the box `declined`, and its sender cannot write."""

    chat_id: UUID


class SetChat(_Command, frozen=True):
    """Mute, pin or archive a chat, for the user alone. Fields that are left out stay as they are."""

    chat_id: UUID
    muted_until: Annotated[datetime, msgspec.Meta(tz=True)] | msgspec.UnsetType | None = msgspec.UNSET
    """Until when this user gets no notifications of it; null unmutes it."""
    pinned: bool | None = None
    """Whether it stands before the others in the inbox."""
    archived: bool | None = None
    """Whether it is in the archive instead of the inbox."""


class Report(_Command, frozen=True):
    """Report a message of the peer to those who run the chat. They get a copy of it and of ten before it."""

    chat_id: UUID
    seq: Seq
    """The message."""
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    """A word of the app's own, such as `spam`."""
    note: Annotated[str, msgspec.Meta(max_length=1_000)] | None = None
    """What the user adds."""


class PushKeys(_Command, frozen=True):
    """Keys of a browser's push subscription, base64url (RFC 8291)."""

    p256dh: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    auth: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


Channel = Literal["fcm", "apns", "webpush", "email", "webhook", "log"]
"""A way to notify an offline user; `functions.channels` has a module for each."""
CHANNELS: Final[tuple[str, ...]] = get_args(Channel)


class RegisterDevice(_Command, frozen=True):
    """Notify the user on this device about messages that arrive while they are offline.

    Registering a device again refreshes it.
    """

    channel: Channel
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    """Device token, https URL or e-mail address."""
    keys: PushKeys | None = None
    """Needed for `webpush`."""
    time_zone: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    """IANA name of the user's time zone. What devices report instead, such as `GMT+05:30`, counts as none."""
    language: Annotated[str, msgspec.Meta(max_length=LANGUAGE_CHARS)] | None = None
    """BCP 47 tag of the language for notifications, such as `pt-BR`. `en_US.UTF-8` counts as `en-US`, and
    what is no tag as none."""


class UnregisterDevice(_Command, frozen=True):
    """Stop notifying the user on this device."""

    device_id: UUID
    """From the ack of `register_device`."""


class RefreshToken(_Command, frozen=True):
    """Replace the token of this connection. The edge answers it, so that the token never leaves the edge."""

    token: str
    """A fresh access token of the same user."""


class CatchUp(_Command, frozen=True):
    """Read the next page of messages that a socket has not received yet."""

    username: str | None = None
    """The name in the user's token, for a user who may have no profile yet."""
    issued_at: float | None = None
    """When the token was issued, in seconds since the epoch. The name in the newest token wins."""
    after: dict[str, Seq] | None = None
    """How far the socket is in each of the chats to read from, whatever other sockets ack meanwhile.

    None if the worker is to look up which chats have undelivered messages.
    """
    lost_s: float | None = None
    """Set if publications of the past `lost_s` seconds may not have reached the edge."""
    keeps_cursors: bool = False
    """Whether the edge keeps what `ahead` has told it, and sends the cursors of one page only.

    An edge of the previous release sends `next` of the previous page, with all chats.
    """
    until_us: MicrosecondsSinceEpoch | None = None
    """With `after`, when the first message of all other chats comes: the page holds no newer one."""
    chats_after: str | None = None
    """Without `after`, the chat after which to look up more. None to begin with the first."""
    pages: Limit = 1
    """With `after`, as how many pages the answer may be long, since the client acks quickly."""


class EnsureProfile(_Command, frozen=True):
    """Make sure that the user has a profile before they act."""

    username: str | None = None
    """The name in the user's token."""
    issued_at: float | None = None
    """When the token was issued, in seconds since the epoch. The name in the newest token wins."""


class BroadcastPresence(_Command, frozen=True):
    """Tell the user's peers whether the user is online now, because sockets came or went on an edge."""


class ConfirmDelivery(_Command, frozen=True):
    """Record that sockets of the user have acked messages of a chat."""

    chat_id: str
    spans: list[tuple[Seq, Seq]]
    """First and last seq of each span."""


class PutUser(WithData, frozen=True, kw_only=True):
    """Make or change a user's profile, for the app's own backend."""

    user_id: UUID
    username: Username
    name: DisplayName | msgspec.UnsetType | None = msgspec.UNSET
    avatar_url: AvatarUrl | msgspec.UnsetType | None = msgspec.UNSET
    data: Data | msgspec.UnsetType = msgspec.UNSET


class GetUser(_Command, frozen=True):
    """Read a user's profile, for the app's own backend."""

    user_id: UUID


class DisconnectUser(_Command, frozen=True):
    """Sign a user out everywhere, for the app's own backend."""

    user_id: UUID


ErasureMode = Literal["delete", "anonymise"]
"""Whether an erased user's messages go, too, up to tombstones, or stay as those of nobody."""


class EraseUser(_Command, frozen=True):
    """Erase a user, for the app's own backend."""

    user_id: UUID
    mode: ErasureMode


class ExportUser(_Command, frozen=True):
    """Read a page of what the chat holds of a user, for the app's own backend."""

    user_id: UUID
    cursor: str | None = None
    """`nextCursor` of the previous page."""


class ListReports(_Command, frozen=True):
    """List what users have reported, newest first, for the app's own backend."""

    with_closed: bool = False
    cursor: str | None = None
    """`nextCursor` of the previous page."""
    limit: Limit | None = None
    """How many reports."""


class GetReport(_Command, frozen=True):
    """Read a report with its copies of messages, for the app's own backend."""

    report_id: UUID


class CloseReport(_Command, frozen=True):
    """Note that somebody is done with a report, for the app's own backend."""

    report_id: UUID


class ReviseMessage(WithData, frozen=True, kw_only=True):
    """Edit anybody's message, for the app's own backend."""

    chat_id: UUID
    seq: Seq
    """The message."""
    text: str
    """The new text. At least one visible character, unless there is `data`."""
    data: Data | msgspec.UnsetType = msgspec.UNSET
    """The new `data`; null removes it. Without it, the message keeps what it has."""


class RemoveMessage(_Command, frozen=True):
    """Erase the text and `data` of anybody's message, for the app's own backend."""

    chat_id: UUID
    seq: Seq
    """The message."""


class _WithClientId(msgspec.Struct, rename="camel"):
    client_id: ClientId | None = None


def client_id_of(payload: bytes | msgspec.Raw) -> str | None:
    """Return the client's own id in a payload that was not decoded or is refused; None if unreadable."""
    try:
        return msgspec.json.decode(payload, type=_WithClientId).client_id
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
