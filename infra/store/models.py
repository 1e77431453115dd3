"""The tables. The Alembic migrations in `migrations/` create them; a test compares the two."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, INT8MULTIRANGE, JSONB, Range
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Metadata of all tables. Every timestamp has a time zone."""

    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True), str: Text, int: BigInteger}


class Profile(Base):
    """A user of the chat. `id` is the Supabase user id."""

    __tablename__ = "profiles"
    __table_args__ = (
        Index("profiles_deleted", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    username: Mapped[str]
    username_key: Mapped[str] = mapped_column(unique=True)
    """`username_key(username)`, which a trigger sets and which must be unique."""
    last_seen_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    named_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When the user chose the name, by the clock of whoever says so."""
    deleted_at: Mapped[datetime | None]
    """When the user was deleted. The row stays for the chats of their peers; `put_profile` revives it."""
    messages_from: Mapped[str] = mapped_column(server_default=text("'everyone'"))
    """Who may begin to write to the user: `everyone`, `requests` or `nobody`."""
    read_receipts: Mapped[bool] = mapped_column(server_default=true())
    """Whether others see what the user has read."""
    show_presence: Mapped[str] = mapped_column(server_default=text("'chats'"))
    """Who sees whether the user is online: `everyone`, `chats` or `nobody`."""
    push_texts: Mapped[bool] = mapped_column(server_default=true())
    """Whether notifications show what messages say."""
    handled: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid))
    """The last requests about settings, and of the backend about the name, so that none is handled again."""
    display_name: Mapped[str | None]
    """What the app calls the user, if it calls them anything besides `username`."""
    avatar_url: Mapped[str | None]
    data: Mapped[str | None]
    """A JSON object of the app, as it came."""
    refused: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid))
    """The last requests for a name that somebody else had, so that none is let through later."""


class RefusedName(Base):
    """A name that `put_profile` could not give to a user; the view `names_not_taken` shows them."""

    __tablename__ = "refused_names"
    __table_args__ = (Index("refused_names_key", "username_key", "refused_at"),)

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    username: Mapped[str]
    username_key: Mapped[str]
    reason: Mapped[str]
    """`taken`, `not_allowed`, `no_such_user`, or the error."""
    refused_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Chat(Base):
    """The direct chat of an unordered pair of users. If both are the same user, it holds notes to self."""

    __tablename__ = "chats"
    __table_args__ = (
        Index("chats_pair", "user_lo", "user_hi", unique=True),
        Index("chats_box_lo", "user_lo", "lo_box", "is_behind", "listed_at", "id"),
        Index("chats_box_hi", "user_hi", "hi_box", "is_behind", "listed_at", "id"),
        Index("chats_sweep", "sweep_at", postgresql_where=text("sweep_at IS NOT NULL")),
        Index(
            "chats_changed_lo", "user_lo", "lo_changed_at", postgresql_where=text("lo_changed_at IS NOT NULL")
        ),
        Index(
            "chats_changed_hi", "user_hi", "hi_changed_at", postgresql_where=text("hi_changed_at IS NOT NULL")
        ),
        Index(
            "chats_blocked_lo",
            "user_lo",
            "lo_blocked_at",
            "id",
            postgresql_where=text("lo_blocked_at IS NOT NULL"),
        ),
        Index(
            "chats_blocked_hi",
            "user_hi",
            "hi_blocked_at",
            "id",
            postgresql_where=text("hi_blocked_at IS NOT NULL"),
        ),
        Index("chats_unread_lo", "user_lo", postgresql_where=text("lo_unread OR sweep_at IS NOT NULL")),
        Index("chats_unread_hi", "user_hi", postgresql_where=text("hi_unread OR sweep_at IS NOT NULL")),
        CheckConstraint("user_lo <= user_hi", name="chats_pair_ordered"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_lo: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    user_hi: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"))
    last_seq: Mapped[int] = mapped_column(server_default=text("0"))
    activity_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Time of the last message, or of the creation. It never decreases."""
    listed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Place in the list of chats: `activity_at`, unless `is_behind`. Each change costs index entries."""
    is_behind: Mapped[bool] = mapped_column(server_default=false())
    """Whether `activity_at` has moved on since. The sweep, which changes indexes anyway, makes up for it."""
    sweep_at: Mapped[datetime | None]
    """When the sweep should check whether the newest messages were confirmed. None if nothing is due."""
    swept_seq: Mapped[int] = mapped_column(server_default=text("0"))
    """Seq up to which the sweep is done. Stored here and not per member, so that sends only lock chats."""
    last_to_lo: Mapped[int | None] = mapped_column(server_default=text("0"))
    """Seq of the newest message to `user_lo`. Once it is delivered, all are. None if it is unknown."""
    last_to_hi: Mapped[int | None] = mapped_column(server_default=text("0"))
    """The same for `user_hi`."""
    to_lo: Mapped[int] = mapped_column(server_default=text("0"))
    """How many messages went to `user_lo`, counted since the first one that has a number.

    Numbers may be negative: they only matter between two messages. See `infra.store.counting`.
    """
    to_hi: Mapped[int] = mapped_column(server_default=text("0"))
    """All others. If both together are not `last_seq`, they are out of date, and no message is numbered."""
    numbered_after: Mapped[int] = mapped_column(server_default=text("0"))
    """Seq behind which all messages are numbered, and none is missing between two of them."""
    change: Mapped[int] = mapped_column(server_default=text("0"))
    """How many changes of its messages there were: edits, reactions, messages taken back."""
    lo_changed_at: Mapped[datetime | None]
    """When the chat last became different for `user_lo`: a message of it changed, or where they have it."""
    hi_changed_at: Mapped[datetime | None]
    """The same for `user_hi`."""
    lo_box: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    """Where `user_lo` has the chat, and whether the other one may write to them: `infra.store.boxes`."""
    hi_box: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    """The same for `user_hi`."""
    lo_blocked_at: Mapped[datetime | None]
    """When `user_lo` blocked the other one. None if they have not."""
    hi_blocked_at: Mapped[datetime | None]
    """The same for `user_hi`."""
    lo_unread: Mapped[bool] = mapped_column(server_default=true())
    """False only if `user_lo` has read all messages up to the last sweep. See `infra.store.unread`."""
    hi_unread: Mapped[bool] = mapped_column(server_default=true())
    """The same for `user_hi`."""
    handled: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid))
    """The last requests of its members about boxes, blocks and mutes, so that none is handled again."""
    refused: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid))
    """The last requests that a block or a message request has refused, so that none is let through later."""
    system_messages: Mapped[int | None]
    """How many of its messages are of the system. None if there never was one."""
    system_to_lo: Mapped[int | None]
    """Up to this seq, all messages to `user_lo` are of the system: nobody has written to them by then."""
    system_to_hi: Mapped[int | None]
    """The same for `user_hi`."""


class ChatMember(Base):
    """The watermarks of a chat member: everything up to them is delivered, or read."""

    __tablename__ = "chat_members"
    __table_args__ = (Index("chat_members_user_chat", "user_id", "chat_id"),)

    chat_id: Mapped[UUID] = mapped_column(ForeignKey("chats.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True)
    delivered_seq: Mapped[int] = mapped_column(server_default=text("0"))
    read_seq: Mapped[int] = mapped_column(server_default=text("0"))
    joined_at: Mapped[datetime | None]
    """When the member first joined the chat. From then on they see the peer's presence."""
    cleared_seq: Mapped[int] = mapped_column(server_default=text("0"))
    """Messages up to this seq are not shown to the member any more."""
    shown_delivered_seq: Mapped[int | None]
    """What the other one sees instead of `delivered_seq`, while they are blocked or wait to be accepted."""
    shown_read_seq: Mapped[int | None]
    """The same for `read_seq`."""
    muted_until: Mapped[datetime | None]
    """Until when the member is not notified of messages of the chat."""


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
    to_lo: Mapped[int | None]
    """Its number: `to_lo` of the chat when it was stored. None up to `numbered_after`."""
    data: Mapped[str | None]
    """A JSON object of the app, as it came."""
    reply_to: Mapped[int | None]
    """Seq of the message that this one answers."""
    change: Mapped[int | None]
    """The change of the chat that made the message what it is. None if nobody has changed it."""
    edited_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    """When its sender took it back. It has neither text nor data since."""
    reactions: Mapped[list[list[str]] | None] = mapped_column(JSONB)
    """Pairs of an emoji and the id of a user, in the order in which they came. None if there are none."""
    kind: Mapped[str | None]
    """`system` if the app says it, and not its sender. None of a plain message."""


Index(
    "messages_once",
    Message.sender_id,
    func.coalesce(Message.client_id, text("id::text")),
    unique=True,
)
"""Stores a message once, however often it is sent: by the client's id, or else by the edge's."""


class ChangedMessage(Base):
    """Which messages have changed, by their last change. Kept apart, to spare `messages` an index."""

    __tablename__ = "changed_messages"
    __table_args__ = (
        ForeignKeyConstraint(["chat_id", "seq"], ["messages.chat_id", "messages.seq"], ondelete="CASCADE"),
        UniqueConstraint("chat_id", "change"),
    )

    chat_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    change: Mapped[int]
    """`change` of the message."""
    changed_at: Mapped[datetime]
    client_ids: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    """The ids of the last edits and reactions, by the client if it gave one, so that none is made twice."""


class DeadLetter(Base):
    """An event that no worker could handle, or a notification that could not be sent, with the error."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        Index("dead_letters_age", "created_at"),
        Index("dead_letters_user", "user_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """Id of the event."""
    event: Mapped[str]
    user_id: Mapped[UUID]
    payload: Mapped[str]
    error: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Report(Base):
    """A message that a user has reported, with a copy that nothing changes any more.

    It refers to no other table: evidence outlives chats and users.
    """

    __tablename__ = "reports"
    __table_args__ = (
        UniqueConstraint("reporter_id", "chat_id", "seq"),
        Index("reports_age", "created_at"),
        Index("reports_open", "created_at", postgresql_where=text("closed_at IS NULL")),
        Index("reports_reporter", "reporter_id", "created_at"),
        Index("reports_reported", "reported_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    reporter_id: Mapped[UUID]
    reported_id: Mapped[UUID]
    """Who wrote the message."""
    chat_id: Mapped[UUID]
    seq: Mapped[int]
    """The message."""
    reason: Mapped[str]
    """A word of the app's own."""
    note: Mapped[str | None]
    """What the user added."""
    messages: Mapped[list[Any]] = mapped_column(JSON)
    """The message, last, and those before it, as the reporter saw them.

    Not JSONB, which refuses some of what messages may hold, such as the escape of a NUL.
    """
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    closed_at: Mapped[datetime | None]
    """When an operator was done with it."""


class Device(Base):
    """Where a user wants to be notified of messages that arrive while they are offline."""

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
    """Where the channel sends: a token, an https URL or an e-mail address."""
    p256dh: Mapped[str | None]
    """Web Push: the browser's public key, base64url."""
    auth: Mapped[str | None]
    """Web Push: the browser's secret, base64url."""
    endpoint: Mapped[str | None]
    """SNS: ARN of the platform endpoint. None until the first push after a registration."""
    time_zone: Mapped[str | None]
    """IANA name of the time zone of quiet hours. None for the zone of the deployment."""
    language: Mapped[str | None]
    """BCP 47 tag of the language of notifications. None for the default of their texts."""
    registered_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When the client last registered it."""


class Undelivered(Base):
    """What offline delivery knows about a chat member. Kept apart from `chat_members`, to avoid its locks."""

    __tablename__ = "undelivered"
    __table_args__ = (
        Index("undelivered_check", "check_at", postgresql_where=text("check_at IS NOT NULL")),
        Index("undelivered_user", "user_id"),
    )

    chat_id: Mapped[UUID] = mapped_column(ForeignKey("chats.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True)
    check_at: Mapped[datetime | None]
    """When the delay starts: the time of the oldest undelivered message. None if nothing is undelivered."""
    notified_seq: Mapped[int] = mapped_column(server_default=text("0"))
    """Everything up to it was in a notification or needs none."""


class Notification(Base):
    """One digest for one user: which messages it covers. Its text is composed when it is sent."""

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
    """With `first_seqs`, the span of messages in each of the chats, both ends included."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    next_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When it is put on the queue, or put there again if nobody has finished it."""
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    claimed_until: Mapped[datetime | None]
    """Until then a worker is sending it."""
    sent_to: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default=text("'{}'"))
    """Devices that have received it."""
    refused_by: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default=text("'{}'"))
    """Devices that do not accept it, whose services are not asked again."""
    unsent_at: Mapped[datetime | None]
    """When a message that it covers was last unsent."""
    to_replace: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default=text("'{}'"))
    """Devices that may still show a message that was unsent."""
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    """`sent`, `obsolete` (already read or delivered), `no_device` or `failed`.

    None while it is open, but `sent` if it only has to be replaced.
    """


class ArchivedChat(Base):
    """Which messages of a chat are in the archive and no longer in `messages`."""

    __tablename__ = "archived_chats"

    chat_id: Mapped[UUID] = mapped_column(ForeignKey("chats.id", ondelete="CASCADE"), primary_key=True)
    seqs: Mapped[list[Range[int]]] = mapped_column(INT8MULTIRANGE)


class ArchiveHold(Base):
    """A day whose restored messages must not be archived again for a while."""

    __tablename__ = "archive_holds"

    day: Mapped[date] = mapped_column(primary_key=True)
    until: Mapped[datetime]


class JobRun(Base):
    """The newest run of a scheduled job that a schedule has started."""

    __tablename__ = "job_runs"

    name: Mapped[str] = mapped_column(primary_key=True)
    schedule: Mapped[str]
    """Its cron expression and time zone."""
    seen_until: Mapped[datetime]
    """Times up to this one have been taken, or reported as missed."""
    due_at: Mapped[datetime | None]
    """The newest time that a run has taken."""
    began_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    failed: Mapped[bool] = mapped_column(server_default=text("false"))


class Erasure(Base):
    """The erasure of a user's data, and how far it has come. It refers to no other table, and stays."""

    __tablename__ = "erasures"
    __table_args__ = (
        Index("erasures_unsettled", "user_id", postgresql_where=text("NOT archive_settled")),
        Index("erasures_open", "next_at", postgresql_where=text("finished_at IS NULL")),
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    mode: Mapped[str]
    """`delete` or `anonymise`."""
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    step: Mapped[str]
    """The step that is under way; see `functions.erasure.job`."""
    place: Mapped[str | None]
    """How far the step has come."""
    counts: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'"))
    """What was erased, by store and kind. Written together with the erasure itself."""
    finished_at: Mapped[datetime | None]
    archive_settled: Mapped[bool] = mapped_column(server_default=false())
    """Whether no object of the archive can have been written with what was erased meanwhile."""
    next_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """`erase_users` leaves it alone before."""
    manifest: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """What it has done, once it is finished: an `infra.wire.events.Manifest`."""


class Outbox(Base):
    """A fact that one endpoint of the app's backend is to hear of. It goes once it was sent.

    It refers to no other table: what happened is told whatever becomes of chats and users.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_next", "endpoint", "number", postgresql_where=text("dead_at IS NULL")),
        Index("outbox_dead", "dead_at", postgresql_where=text("dead_at IS NOT NULL")),
    )

    number: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    endpoint: Mapped[str]
    """Its name in the setting `WEBHOOKS`."""
    id: Mapped[str]
    """The event and what distinguishes it from others: the same for all endpoints."""
    event: Mapped[str]
    about: Mapped[UUID]
    """The chat in whose order it is sent."""
    body: Mapped[str]
    """JSON. Not JSONB, which refuses some of what messages may hold."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    dead_at: Mapped[datetime | None]
    """When it was given up."""
    error: Mapped[str | None]
    """Why."""


class WebhookEndpoint(Base):
    """How it goes with an endpoint, and who is sending to it."""

    __tablename__ = "webhook_endpoints"

    name: Mapped[str] = mapped_column(primary_key=True)
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    """How often it has failed since it last accepted anything."""
    caution: Mapped[int] = mapped_column(server_default=text("0"))
    """How often the number of events in a request is halved, because it could not take more."""
    failing_since: Mapped[datetime | None]
    error: Mapped[str | None]
    """What was wrong the last time."""
    next_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Nothing is sent before."""
    claim: Mapped[UUID | None]
    """The run that is sending to it."""
    claimed_until: Mapped[datetime | None]


class WebhookWait(Base):
    """A chat whose next event an endpoint has refused, while it accepts those of others."""

    __tablename__ = "webhook_waits"

    endpoint: Mapped[str] = mapped_column(primary_key=True)
    about: Mapped[UUID] = mapped_column(primary_key=True)
    tries: Mapped[int]
    since: Mapped[datetime] = mapped_column(server_default=func.now())
    next_at: Mapped[datetime]
