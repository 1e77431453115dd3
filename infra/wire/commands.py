"""What clients may ask for, and the few requests that edges make on their own.

Client payloads are decoded strictly (no type coercion) into these structs, once, in the worker.
Unknown fields are ignored, so that a newer client can talk to an older server.
"""

from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec

Limit = Annotated[int, msgspec.Meta(ge=1)]
"""Page size asked for; more than the server's maximum is answered with the maximum."""

Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Position of a message in its chat; the first message has 1, and 0 stands before it."""

Username = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
ClientId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _Command(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class SendMessage(_Command, frozen=True):
    """Store `text` for `username`; `client_id` makes a retry safe."""

    username: Username
    text: Annotated[str, msgspec.Meta(min_length=1)]
    client_id: ClientId | None = None


class JoinChat(_Command, frozen=True):
    """Open the chat with `username`, creating it if there is none."""

    username: Username
    limit: Limit | None = None


class MarkAsRead(_Command, frozen=True):
    """Move the reader's watermark to `up_to`, or to the end of the chat."""

    chat_id: UUID
    up_to: Seq | None = None


class GetMessages(_Command, frozen=True):
    """Read a page of history before or after a seq; the newest page when neither is given."""

    chat_id: UUID
    before: Seq | None = None
    after: Seq | None = None
    limit: Limit | None = None


class ListChats(_Command, frozen=True):
    """List the chats of the user, newest activity first."""

    cursor: str | None = None
    limit: Limit | None = None


class Sync(_Command, frozen=True):
    """Ask for everything that is newer than the client's cursor of each chat."""

    cursors: dict[UUID, Seq]


class Typing(_Command, frozen=True):
    """Tell the other side that the user is typing, or has stopped."""

    is_typing: bool
    username: Username | None = None
    chat_id: UUID | None = None


class PushKeys(_Command, frozen=True):
    """Keys of a browser's push subscription, base64url (RFC 8291)."""

    p256dh: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    auth: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class RegisterDevice(_Command, frozen=True):
    """Notify the user through this device of what comes while they are away. Again refreshes it."""

    channel: Literal["fcm", "apns", "webpush", "email", "webhook", "log"]
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    """Device token, https URL or e-mail address."""
    keys: PushKeys | None = None
    """Needed for `webpush`."""
    time_zone: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    """IANA name of the zone of the user."""


class UnregisterDevice(_Command, frozen=True):
    """Notify no more through this device."""

    device_id: UUID


class RefreshToken(_Command, frozen=True):
    """Replace the token of this connection; answered by the edge itself."""

    token: str


class CatchUp(_Command, frozen=True):
    """Edge's own: read the next page of messages that a socket has not got."""

    username: str | None = None
    after: dict[str, Seq] | None = None
    """`next` of the page before: how far each chat has come, whatever other sockets ack meanwhile."""
    lost_s: float | None = None
    """Set when publications of the last so many seconds may not have reached the edge."""


class Introduce(_Command, frozen=True):
    """Edge's own: the first word of every connection, so that the user is known before they act."""

    username: str | None = None


class Announce(_Command, frozen=True):
    """Edge's own: sockets of the user came or went on this edge; tell the peers what holds now."""


class ConfirmDelivery(_Command, frozen=True):
    """Edge's own: sockets of the user have acked these messages of a chat (first and last of each span)."""

    chat_id: str
    spans: list[tuple[Seq, Seq]]


class _WithClientId(msgspec.Struct, rename="camel"):
    client_id: ClientId | None = None


def client_id_of(payload: bytes | msgspec.Raw) -> str | None:
    """Read the client's own id out of a payload that is refused or was never decoded; None if unreadable."""
    try:
        return msgspec.json.decode(payload, type=_WithClientId).client_id
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


CHANNELS: Final = ("fcm", "apns", "webpush", "email", "webhook", "log")
"""Ways to notify somebody who is away; `functions.channels` has a module for each."""

MARK_AS_READ: Final = "mark_as_read"

RELAYED: Final[dict[str, type[_Command]]] = {
    "send_message": SendMessage,
    "join_chat": JoinChat,
    MARK_AS_READ: MarkAsRead,
    "get_messages": GetMessages,
    "list_chats": ListChats,
    "sync": Sync,
    "typing": Typing,
    "register_device": RegisterDevice,
    "unregister_device": UnregisterDevice,
}
"""Events that clients may send and that workers handle."""

REFRESH_TOKEN: Final = "refresh_token"
"""The one client event that the edge answers itself: a token never leaves it."""

INTRODUCE: Final = "introduce"
CATCH_UP: Final = "catch_up"
ANNOUNCE: Final = "announce"
CONFIRM_DELIVERY: Final = "confirm_delivery"

INTERNAL: Final[dict[str, type[_Command]]] = {
    INTRODUCE: Introduce,
    CATCH_UP: CatchUp,
    ANNOUNCE: Announce,
    CONFIRM_DELIVERY: ConfirmDelivery,
}
"""Events that only edges raise; a client that sends one gets `unknown_event`."""
