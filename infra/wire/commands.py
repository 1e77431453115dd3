"""Payloads of commands: what clients ask for, and the few requests that edges make themselves.

Workers decode client payloads into these structs once and strictly, without coercing types. Unknown
fields are ignored, so that a newer client can talk to an older server. `registry` lists the commands.
"""

from datetime import datetime
from typing import Annotated, Final, Literal, get_args
from uuid import UUID

import msgspec

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


class _Command(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class Auth(msgspec.Struct, frozen=True):
    """What a client connects with."""

    token: str
    """The access token of the signed-in user."""


class SendMessage(_Command, frozen=True):
    """Send `text` to `username`. `client_id` makes a retry safe."""

    username: Username
    """The recipient. Case does not matter."""
    text: Annotated[str, msgspec.Meta(min_length=1)]
    """At least one visible character."""
    client_id: ClientId | None = None
    """The client's own id for this message, unique per sender, across all chats."""


class JoinChat(_Command, frozen=True):
    """Open the chat with `username`; create it if there is none."""

    username: Username
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


class ListChats(_Command, frozen=True):
    """List the user's chats, most recent activity first."""

    cursor: str | None = None
    """`nextCursor` of the previous page."""
    limit: Limit | None = None
    """How many chats."""
    since: Annotated[datetime, msgspec.Meta(tz=True)] | msgspec.UnsetType | None = msgspec.UNSET
    """`since` of an earlier ack: leave out chats without activity since then. Null asks for the first one."""


class Sync(_Command, frozen=True):
    """Ask for everything newer than the client's cursor in each chat."""

    cursors: dict[UUID, Seq]
    """For each chat that the client knows, the last seq up to which it has everything."""
    only: bool = False
    """Leave out chats without a cursor."""


class Typing(_Command, frozen=True):
    """Tell the other user that this one is typing, or has stopped."""

    is_typing: bool
    username: Username | None = None
    """The peer; or name the chat."""
    chat_id: UUID | None = None


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


class _WithClientId(msgspec.Struct, rename="camel"):
    client_id: ClientId | None = None


def client_id_of(payload: bytes | msgspec.Raw) -> str | None:
    """Return the client's own id in a payload that was not decoded or is refused; None if unreadable."""
    try:
        return msgspec.json.decode(payload, type=_WithClientId).client_id
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
