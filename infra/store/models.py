"""The tables. Alembic migrations under `migrations/` make them; a test holds the two against each other."""

from datetime import date, datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, INT8MULTIRANGE, Range
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Metadata of all tables; every time has a zone."""

    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True), str: Text, int: BigInteger}


class Profile(Base):
    """A person who chats; `id` is the Supabase user id."""

    __tablename__ = "profiles"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    username: Mapped[str]
    username_key: Mapped[str] = mapped_column(unique=True)
    """`infra.store.profiles.username_key(username)`: what makes names unique."""
    last_seen_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Chat(Base):
    """The direct chat of an unordered pair of users (twice the same user: notes to self)."""

    __tablename__ = "chats"
    __table_args__ = (
        Index("chats_pair", "user_lo", "user_hi", unique=True),
        Index("chats_user_hi", "user_hi"),
        Index("chats_sweep", "sweep_at", postgresql_where=text("sweep_at IS NOT NULL")),
        CheckConstraint("user_lo <= user_hi", name="chats_pair_ordered"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_lo: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    user_hi: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    last_seq: Mapped[int] = mapped_column(server_default=text("0"))
    activity_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Time of the last message, or of the creation; never goes back."""
    sweep_at: Mapped[datetime | None]
    """When to look whether the newest messages were confirmed; None when nothing is due."""
    swept_seq: Mapped[int] = mapped_column(server_default=text("0"))
    """What the sweep has looked at. Here and not with the members, so that sends lock chats only."""
    last_to_lo: Mapped[int | None] = mapped_column(server_default=text("0"))
    """Seq of the newest message to `user_lo`: once it is delivered, all are. None where it is not known."""
    last_to_hi: Mapped[int | None] = mapped_column(server_default=text("0"))
    """The same for `user_hi`."""


class ChatMember(Base):
    """How far one member has got in a chat: everything up to a watermark is delivered, or read."""

    __tablename__ = "chat_members"
    __table_args__ = (Index("chat_members_user", "user_id"),)

    chat_id: Mapped[UUID] = mapped_column(ForeignKey("chats.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True)
    delivered_seq: Mapped[int] = mapped_column(server_default=text("0"))
    read_seq: Mapped[int] = mapped_column(server_default=text("0"))
    joined_at: Mapped[datetime | None]
    """When the member first joined the chat; from then on they hear of the peer's coming and going."""


class Message(Base):
    """A message. `seq` counts from 1 within the chat and has no holes."""

    __tablename__ = "messages"

    chat_id: Mapped[UUID] = mapped_column(ForeignKey("chats.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[UUID]
    sender_id: Mapped[UUID]
    recipient_id: Mapped[UUID]
    text: Mapped[str]
    client_id: Mapped[str | None]
    created_at: Mapped[datetime]


Index(
    "messages_once",
    Message.sender_id,
    func.coalesce(Message.client_id, text("id::text")),
    unique=True,
)
"""Stores a message once, however often it is tried: by the client's id, or else by the edge's."""


class DeadLetter(Base):
    """An event that no worker could handle, with its error."""

    __tablename__ = "dead_letters"
    __table_args__ = (Index("dead_letters_age", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """Id of the event."""
    event: Mapped[str]
    user_id: Mapped[UUID]
    payload: Mapped[str]
    error: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Device(Base):
    """Where a user wants to be told of messages that came while they were away."""

    __tablename__ = "devices"
    __table_args__ = (
        UniqueConstraint("user_id", "channel", "address"),
        Index(
            "devices_one_owner",
            "channel",
            "address",
            unique=True,
            postgresql_where=text("channel IN ('fcm', 'apns', 'webpush')"),
        ),
        Index("devices_age", "registered_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    channel: Mapped[str]
    """One of `infra.wire.commands.CHANNELS`."""
    address: Mapped[str]
    """What the channel sends to: a token, an https URL, an e-mail address."""
    p256dh: Mapped[str | None]
    """Web Push: the browser's public key, base64url."""
    auth: Mapped[str | None]
    """Web Push: the browser's secret, base64url."""
    endpoint: Mapped[str | None]
    """SNS: ARN of the platform endpoint; None until the first push after a registration."""
    time_zone: Mapped[str | None]
    """IANA name of the zone that quiet hours count in; None for the zone of the deployment."""
    registered_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When the client registered it last."""


class Undelivered(Base):
    """What offline delivery knows about a member of a chat; apart from `chat_members` because of locks."""

    __tablename__ = "undelivered"
    __table_args__ = (
        Index("undelivered_check", "check_at", postgresql_where=text("check_at IS NOT NULL")),
        Index("undelivered_user", "user_id"),
    )

    chat_id: Mapped[UUID] = mapped_column(ForeignKey("chats.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True)
    check_at: Mapped[datetime | None]
    """From when on the delay counts: the time of the oldest message in question; None when there is none."""
    notified_seq: Mapped[int] = mapped_column(server_default=text("0"))
    """Everything up to it was in a notification, or needs none."""


class Notification(Base):
    """One digest for one user: which messages it is about. Its words are found when it is sent."""

    __tablename__ = "notifications"
    __table_args__ = (
        Index("notifications_user", "user_id", "created_at"),
        Index("notifications_open", "next_at", postgresql_where=text("finished_at IS NULL")),
        Index("notifications_age", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    chat_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    first_seqs: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    last_seqs: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    """With `first_seqs`: the span of each of the chats, both ends included."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    next_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When it is put on the queue, or put there again because nobody has finished it."""
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    claimed_until: Mapped[datetime | None]
    """Until then somebody is at work on it."""
    sent_to: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default=text("'{}'"))
    """Devices that have got it."""
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    """`sent`, `obsolete` (read or delivered meanwhile), `no_device` or `failed`; None while it is open."""


class ArchivedChat(Base):
    """Which messages of a chat are in the archive and no longer in `messages`."""

    __tablename__ = "archived_chats"

    chat_id: Mapped[UUID] = mapped_column(ForeignKey("chats.id", ondelete="CASCADE"), primary_key=True)
    seqs: Mapped[list[Range[int]]] = mapped_column(INT8MULTIRANGE)


class ArchiveHold(Base):
    """A day whose restored messages are not archived again for a while."""

    __tablename__ = "archive_holds"

    day: Mapped[date] = mapped_column(primary_key=True)
    until: Mapped[datetime]
