"""The tables. Alembic migrations under `migrations/` make them; a test holds the two against each other."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Text, func, text
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

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """Id of the event."""
    event: Mapped[str]
    user_id: Mapped[UUID]
    payload: Mapped[str]
    error: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
