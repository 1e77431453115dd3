"""What the chat holds of a user, as an export tells it: objects, each with a `type`."""

import msgspec

Time = str | None


class _Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type", omit_defaults=True):
    """A line. Fields that have nothing are left out."""


class ProfileLine(_Line, frozen=True, tag="profile"):
    """Who the user is in the chat; comes first, and once."""

    id: str
    username: str | None = None
    name: str | None = None
    avatar_url: str | None = None
    data: msgspec.Raw | None = None
    created_at: Time = None
    named_at: Time = None
    last_seen_at: Time = None
    deleted_at: Time = None


class SettingsLine(_Line, frozen=True, tag="settings"):
    """What the user has set for all chats."""

    messages_from: str
    read_receipts: bool
    show_presence: str
    push_texts: bool


class DeviceLine(_Line, frozen=True, tag="device"):
    """Where the user is notified. What lets others notify them is left out: tokens, keys, URLs."""

    id: str
    channel: str
    address: str | None = None
    time_zone: str | None = None
    language: str | None = None
    registered_at: Time = None


class ChatLine(_Line, frozen=True, tag="chat"):
    """A chat, and how far the user is in it."""

    id: str
    peer_id: str
    peer_username: str
    last_seq: int
    activity_at: Time
    box: str = "inbox"
    delivered_up_to: int = 0
    read_up_to: int = 0
    cleared_up_to: int = 0
    joined_at: Time = None
    muted_until: Time = None


class BlockLine(_Line, frozen=True, tag="block"):
    """Somebody whom the user has blocked."""

    user_id: str
    username: str
    at: Time


class MessageLine(_Line, frozen=True, tag="message"):
    """A message that the user wrote or received."""

    chat_id: str
    seq: int
    id: str
    sender_id: str
    recipient_id: str
    text: str
    created_at: Time
    client_id: str | None = None
    data: msgspec.Raw | None = None
    reply_to: int | None = None
    change: int | None = None
    edited_at: Time = None
    deleted_at: Time = None
    kind: str | None = None
    archived: bool = False


class ArchivedLine(_Line, frozen=True, tag="archived"):
    """Messages of a chat that are in the archive, and not among those here."""

    chat_id: str
    spans: list[tuple[int, int]]
    """First and last seq of each span."""


class ReactionLine(_Line, frozen=True, tag="reaction"):
    """A reaction of the user, or of the peer to a message of the user; behind its message."""

    chat_id: str
    seq: int
    user_id: str
    emoji: str


class ReportLine(_Line, frozen=True, tag="report"):
    """A message that the user has reported, with the copy that was made of it."""

    id: str
    reported_id: str
    chat_id: str
    seq: int
    reason: str
    messages: msgspec.Raw
    created_at: Time
    note: str | None = None
    closed_at: Time = None


class NotificationLine(_Line, frozen=True, tag="notification"):
    """When the user was notified."""

    id: str
    created_at: Time
    finished_at: Time = None
    outcome: str | None = None


class UnhandledLine(_Line, frozen=True, tag="unhandled"):
    """An event that the user's client sent, or the app's backend about them, and no worker could handle."""

    id: str
    event: str
    payload: str
    created_at: Time


Line = (
    ProfileLine
    | SettingsLine
    | DeviceLine
    | ChatLine
    | BlockLine
    | MessageLine
    | ArchivedLine
    | ReactionLine
    | ReportLine
    | NotificationLine
    | UnhandledLine
)


class ExportAck(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of an export."""

    lines: list[Line]
    next_cursor: str | None
    """The `cursor` of the next page; null on the last one."""
    success: bool = True
