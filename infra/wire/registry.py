"""The one list of commands and server events. Dispatch, the tables of docs/events.md and tests follow it."""

from dataclasses import dataclass
from typing import Final

import msgspec

from infra.wire import commands, events
from infra.wire.errors import ErrorCode
from infra.wire.export import ExportAck
from infra.wire.inbox import CatchUpPage

REFRESH_TOKEN: Final = "refresh_token"
INTRODUCE: Final = "introduce"
CATCH_UP: Final = "catch_up"
ANNOUNCE: Final = "announce"
CONFIRM_DELIVERY: Final = "confirm_delivery"
PUT_USER: Final = "put_user"
GET_USER: Final = "get_user"
REVISE_MESSAGE: Final = "revise_message"
REMOVE_MESSAGE: Final = "remove_message"
DISCONNECT_USER: Final = "disconnect_user"
ERASE_USER: Final = "erase_user"
EXPORT_USER: Final = "export_user"
LIST_REPORTS: Final = "list_reports"
GET_REPORT: Final = "get_report"
CLOSE_REPORT: Final = "close_report"
SEND_SYSTEM_MESSAGE: Final = "send_system_message"

COMMON_ERRORS: Final = (
    ErrorCode.INVALID_PAYLOAD,
    ErrorCode.UNKNOWN_EVENT,
    ErrorCode.PAYLOAD_TOO_LARGE,
    ErrorCode.RATE_LIMITED,
    ErrorCode.BUSY,
    ErrorCode.TIMEOUT,
    ErrorCode.UNAVAILABLE,
    ErrorCode.INTERNAL,
)
"""Codes with which every request of a client can fail."""
_ON_A_MESSAGE: Final = (ErrorCode.CHAT_NOT_FOUND, ErrorCode.NOT_A_MEMBER, ErrorCode.MESSAGE_NOT_FOUND)
CONNECT_ERRORS: Final = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.TOKEN_EXPIRED,
    ErrorCode.FORBIDDEN_ORIGIN,
    ErrorCode.RATE_LIMITED,
    ErrorCode.UNAVAILABLE,
    ErrorCode.INTERNAL,
)
"""Codes with which a connection can be refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A request that clients, or edges themselves, may make."""

    name: str
    """Name of the event on the wire."""
    payload: type[msgspec.Struct]
    ack: type[msgspec.Struct]
    """Payload of a successful ack."""
    summary: str
    """What the command does: one sentence, for people."""
    errors: tuple[ErrorCode, ...] = ()
    """Codes with which it can fail, besides `COMMON_ERRORS`."""
    is_internal: bool = False
    """Whether only edges send it. A client that does is answered `unknown_event`."""
    is_of_backend: bool = False
    """Whether edges send it for the app's own backend only, which acts as nobody: `infra.wire.server_api`."""
    is_answered_by_edge: bool = False
    """Whether the edge answers it without a worker."""
    is_ephemeral: bool = False
    """Whether it goes stale at once: it is dropped under load, without an error, and its dead letters are
    never replayed."""
    stale_because: str | None = None
    """Why a dead letter of it must not be replayed, although it is not ephemeral; None if it may be."""
    stale_unless: str | None = None
    """Field of the payload that, if the client gave it, allows a replay all the same."""
    ensures_profile: bool = False
    """Whether its `username` creates a profile for a user who has none, where that is enabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """Something the server sends unprompted."""

    name: str
    payload: type[msgspec.Struct]
    summary: str
    """What it says: one sentence, for people."""
    asks_for_ack: bool = False
    """Whether clients are asked for an ack. Only the one of `new_message` has a consequence."""


_COMMANDS: Final = (
    Command(
        name="send_message",
        payload=commands.SendMessage,
        ack=events.SendAck,
        summary="Sends a message to a user.",
        errors=(
            ErrorCode.USER_NOT_FOUND,
            ErrorCode.PROFILE_MISSING,
            ErrorCode.MESSAGE_NOT_FOUND,
            ErrorCode.NOT_ALLOWED,
        ),
    ),
    Command(
        name="edit_message",
        payload=commands.EditMessage,
        ack=events.ChangeAck,
        summary="Edits one of the user's own messages.",
        errors=(*_ON_A_MESSAGE, ErrorCode.NOT_ALLOWED, ErrorCode.TOO_LATE),
        stale_because="the message may have been edited again since",
    ),
    Command(
        name="unsend_message",
        payload=commands.UnsendMessage,
        ack=events.ChangeAck,
        summary="Takes back one of the user's own messages: its text is erased.",
        errors=(*_ON_A_MESSAGE, ErrorCode.NOT_ALLOWED, ErrorCode.TOO_LATE),
    ),
    Command(
        name="react",
        payload=commands.React,
        ack=events.ChangeAck,
        summary="Adds a reaction to a message, or removes it.",
        errors=(*_ON_A_MESSAGE, ErrorCode.NOT_ALLOWED),
        stale_because="the user may have changed the reaction since",
    ),
    Command(
        name="clear_chat",
        payload=commands.ClearChat,
        ack=events.ClearAck,
        summary="Hides all of the chat's messages from the user; the peer keeps them.",
        errors=(ErrorCode.CHAT_NOT_FOUND, ErrorCode.NOT_A_MEMBER),
        stale_because="without `upTo` it would also clear newer messages",
        stale_unless="up_to",
    ),
    Command(
        name="join_chat",
        payload=commands.JoinChat,
        ack=events.JoinAck,
        summary="Opens the chat with a user, creating it if there is none, and returns its newest page.",
        errors=(ErrorCode.USER_NOT_FOUND, ErrorCode.PROFILE_MISSING),
    ),
    Command(
        name="mark_as_read",
        payload=commands.MarkAsRead,
        ack=events.ReadAck,
        summary="Marks the messages of a chat as read, up to a seq.",
        errors=(ErrorCode.CHAT_NOT_FOUND, ErrorCode.NOT_A_MEMBER),
        stale_because="without `upTo` it would also mark newer messages",
        stale_unless="up_to",
    ),
    Command(
        name="get_messages",
        payload=commands.GetMessages,
        ack=events.MessagesAck,
        summary="Returns a page of a chat's history.",
        errors=(ErrorCode.CHAT_NOT_FOUND, ErrorCode.NOT_A_MEMBER),
    ),
    Command(
        name="list_chats",
        payload=commands.ListChats,
        ack=events.ChatsAck,
        summary="Returns the user's chats, newest activity first.",
    ),
    Command(
        name="sync",
        payload=commands.Sync,
        ack=events.SyncAck,
        summary="Returns what the client has missed, in all chats at once.",
    ),
    Command(
        name="typing",
        payload=commands.Typing,
        ack=events.Done,
        summary="Tells the other user that this one is typing, or has stopped.",
        errors=(
            ErrorCode.USER_NOT_FOUND,
            ErrorCode.CHAT_NOT_FOUND,
            ErrorCode.NOT_A_MEMBER,
            ErrorCode.PROFILE_MISSING,
        ),
        is_ephemeral=True,
    ),
    Command(
        name="block_user",
        payload=commands.BlockUser,
        ack=events.BlockAck,
        summary="Blocks a user: neither hears from the other any more.",
        errors=(ErrorCode.USER_NOT_FOUND, ErrorCode.PROFILE_MISSING, ErrorCode.NOT_ALLOWED),
        stale_because="the user may have removed the block since",
    ),
    Command(
        name="unblock_user",
        payload=commands.UnblockUser,
        ack=events.BlockAck,
        summary="Removes a block.",
        errors=(ErrorCode.USER_NOT_FOUND, ErrorCode.PROFILE_MISSING, ErrorCode.NOT_ALLOWED),
        stale_because="the user may have blocked the other one again since",
    ),
    Command(
        name="list_blocked",
        payload=commands.ListBlocked,
        ack=events.BlockedAck,
        summary="Returns the users whom the user has blocked, most recently blocked first.",
    ),
    Command(
        name="get_settings",
        payload=commands.GetSettings,
        ack=events.SettingsAck,
        summary="Returns the user's settings.",
        errors=(ErrorCode.PROFILE_MISSING,),
    ),
    Command(
        name="update_settings",
        payload=commands.UpdateSettings,
        ack=events.SettingsAck,
        summary="Changes the user's settings: who may write, and what others see.",
        errors=(ErrorCode.PROFILE_MISSING,),
        stale_because="the user may have changed the settings since",
    ),
    Command(
        name="accept_chat",
        payload=commands.AcceptChat,
        ack=events.ChatAck,
        summary="Accepts a message request: the chat moves to the inbox.",
        errors=(ErrorCode.CHAT_NOT_FOUND, ErrorCode.NOT_A_MEMBER),
        stale_because="the user may have declined it since",
    ),
    Command(
        name="decline_chat",
        payload=commands.DeclineChat,
        ack=events.ChatAck,
        summary="Declines a message request: its sender cannot write any more.",
        errors=(ErrorCode.CHAT_NOT_FOUND, ErrorCode.NOT_A_MEMBER, ErrorCode.NOT_ALLOWED),
    ),
    Command(
        name="set_chat",
        payload=commands.SetChat,
        ack=events.ChatAck,
        summary="Mutes, pins or archives a chat, for the user alone.",
        errors=(ErrorCode.CHAT_NOT_FOUND, ErrorCode.NOT_A_MEMBER, ErrorCode.NOT_ALLOWED),
        stale_because="the user may have changed it since",
    ),
    Command(
        name="report",
        payload=commands.Report,
        ack=events.ReportAck,
        summary="Reports a message to those who run the chat; they get a copy that never changes.",
        errors=(*_ON_A_MESSAGE, ErrorCode.NOT_ALLOWED),
    ),
    Command(
        name="register_device",
        payload=commands.RegisterDevice,
        ack=events.DeviceAck,
        summary="Registers a device for notifications while the user is away.",
        errors=(ErrorCode.PROFILE_MISSING,),
        stale_because="the device may be somebody else's by now; the app registers it again",
    ),
    Command(
        name="unregister_device",
        payload=commands.UnregisterDevice,
        ack=events.Done,
        summary="Stops notifications to a device.",
    ),
    Command(
        name=REFRESH_TOKEN,
        payload=commands.RefreshToken,
        ack=events.RefreshAck,
        summary="Replaces the connection's access token.",
        errors=(ErrorCode.UNAUTHORIZED, ErrorCode.TOKEN_EXPIRED),
        is_answered_by_edge=True,
    ),
    Command(
        name=INTRODUCE,
        payload=commands.EnsureProfile,
        ack=events.Done,
        summary="Ensures that the user has a profile.",
        is_internal=True,
        ensures_profile=True,
    ),
    Command(
        name=CATCH_UP,
        payload=commands.CatchUp,
        ack=CatchUpPage,
        summary="Returns the next page of messages that a socket has not received yet.",
        is_internal=True,
        ensures_profile=True,
    ),
    Command(
        name=ANNOUNCE,
        payload=commands.BroadcastPresence,
        ack=events.Done,
        summary="Tells the user's peers whether the user is online.",
        is_internal=True,
    ),
    Command(
        name=CONFIRM_DELIVERY,
        payload=commands.ConfirmDelivery,
        ack=events.Done,
        summary="Records that sockets of the user have acked messages.",
        is_internal=True,
    ),
    Command(
        name=SEND_SYSTEM_MESSAGE,
        payload=commands.SendSystemMessage,
        ack=events.SendAck,
        summary="Has the app say something in a user's chat.",
        errors=(ErrorCode.USER_NOT_FOUND, ErrorCode.PROFILE_MISSING, ErrorCode.MESSAGE_NOT_FOUND),
        is_internal=True,
    ),
    Command(
        name=PUT_USER,
        payload=commands.PutUser,
        ack=events.UserAck,
        summary="Makes or changes a user's profile.",
        errors=(ErrorCode.USER_NOT_FOUND, ErrorCode.USERNAME_TAKEN),
        is_internal=True,
        is_of_backend=True,
        stale_because="the user may have another name since",
    ),
    Command(
        name=GET_USER,
        payload=commands.GetUser,
        ack=events.UserAck,
        summary="Returns a user's profile.",
        errors=(ErrorCode.USER_NOT_FOUND,),
        is_internal=True,
        is_of_backend=True,
    ),
    Command(
        name=REVISE_MESSAGE,
        payload=commands.ReviseMessage,
        ack=events.ChangeAck,
        summary="Edits anybody's message.",
        errors=(ErrorCode.CHAT_NOT_FOUND, ErrorCode.MESSAGE_NOT_FOUND, ErrorCode.NOT_ALLOWED),
        is_internal=True,
        is_of_backend=True,
        stale_because="the message may have been edited again since",
    ),
    Command(
        name=REMOVE_MESSAGE,
        payload=commands.RemoveMessage,
        ack=events.ChangeAck,
        summary="Removes anybody's message: its text is erased.",
        errors=(ErrorCode.CHAT_NOT_FOUND, ErrorCode.MESSAGE_NOT_FOUND),
        is_internal=True,
        is_of_backend=True,
    ),
    Command(
        name=DISCONNECT_USER,
        payload=commands.DisconnectUser,
        ack=events.SignOutAck,
        summary="Signs a user out everywhere.",
        is_internal=True,
        is_of_backend=True,
        stale_because="the user may have signed in again since",
    ),
    Command(
        name=ERASE_USER,
        payload=commands.EraseUser,
        ack=events.ErasureAck,
        summary="Erases a user, or tells how far that is.",
        errors=(ErrorCode.USER_NOT_FOUND, ErrorCode.NOT_ALLOWED),
        is_internal=True,
        is_of_backend=True,
        stale_because="the user may have come back since",
    ),
    Command(
        name=EXPORT_USER,
        payload=commands.ExportUser,
        ack=ExportAck,
        summary="Returns a page of what the chat holds of a user.",
        errors=(ErrorCode.USER_NOT_FOUND,),
        is_internal=True,
        is_of_backend=True,
    ),
    Command(
        name=LIST_REPORTS,
        payload=commands.ListReports,
        ack=events.ReportsAck,
        summary="Lists what users have reported, newest first.",
        is_internal=True,
        is_of_backend=True,
    ),
    Command(
        name=GET_REPORT,
        payload=commands.GetReport,
        ack=events.ReportCopyAck,
        summary="Returns a report with its copies of messages.",
        errors=(ErrorCode.REPORT_NOT_FOUND,),
        is_internal=True,
        is_of_backend=True,
    ),
    Command(
        name=CLOSE_REPORT,
        payload=commands.CloseReport,
        ack=events.KeptReportAck,
        summary="Notes that somebody is done with a report.",
        errors=(ErrorCode.REPORT_NOT_FOUND,),
        is_internal=True,
        is_of_backend=True,
    ),
)

_SERVER_EVENTS: Final = (
    ServerEvent(
        name=events.CONNECTION_SUCCESS,
        payload=events.ConnectionSuccess,
        summary="The connection is ready; always the first event.",
    ),
    ServerEvent(
        name=events.TEST_MESSAGE,
        payload=events.TestMessage,
        summary="Follows `connection_success`, so that a client can check that events arrive.",
        asks_for_ack=True,
    ),
    ServerEvent(
        name=events.PING,
        payload=events.Ping,
        summary="A regular ping of the application, not of the transport; the client may ack it.",
        asks_for_ack=True,
    ),
    ServerEvent(
        name=events.MESSAGE_SENT,
        payload=events.Message,
        summary="The user's own message was stored; sent to all of the user's sockets.",
    ),
    ServerEvent(
        name=events.NEW_MESSAGE,
        payload=events.Message,
        summary="A message to the user was stored; the client must ack it.",
        asks_for_ack=True,
    ),
    ServerEvent(
        name=events.MESSAGE_CHANGED,
        payload=events.Message,
        summary="A message of either user was edited or unsent, or has other reactions.",
    ),
    ServerEvent(
        name=events.CHAT_CHANGED,
        payload=events.ChatChanged,
        summary="A chat is different for the user alone: cleared, muted, moved, blocked, or a new request.",
    ),
    ServerEvent(
        name=events.UNREAD_CHANGED,
        payload=events.UnreadChanged,
        summary="How much the user has not read: after a connect, when they have read or changed a chat,"
        " and soon after a chat has unread messages.",
    ),
    ServerEvent(
        name=events.SETTINGS_CHANGED,
        payload=events.Settings,
        summary="The user has changed their settings, on one of their devices.",
    ),
    ServerEvent(
        name=events.MESSAGE_STATUS,
        payload=events.MessageStatus,
        summary="A user has received or read messages.",
    ),
    ServerEvent(
        name=events.TYPING,
        payload=events.TypingStatus,
        summary="The other user is typing, or has stopped.",
    ),
    ServerEvent(
        name=events.USER_STATUS,
        payload=events.UserStatus,
        summary="A peer came online or went offline.",
    ),
    ServerEvent(
        name=events.ERROR,
        payload=events.ErrorEvent,
        summary="A request failed, or the connection needs attention.",
    ),
)

COMMANDS: Final = {command.name: command for command in _COMMANDS}
CLIENT_COMMANDS: Final = {command.name: command for command in _COMMANDS if not command.is_internal}
"""Commands that clients may send."""
INTERNAL_COMMANDS: Final = {command.name: command for command in _COMMANDS if command.is_internal}
"""Commands that only edges send."""
WORKER_COMMANDS: Final = {command.name: command for command in _COMMANDS if not command.is_answered_by_edge}
"""Commands that workers handle."""
BACKEND_ERRORS: Final = frozenset(
    error for command in _COMMANDS if command.is_of_backend for error in command.errors
) - frozenset(error for command in _COMMANDS if not command.is_of_backend for error in command.errors)
"""Codes that no client gets, only the app's own backend."""
SERVER_EVENTS: Final = {event.name: event for event in _SERVER_EVENTS}
