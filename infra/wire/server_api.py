"""The one list of calls of the server API, `/v1`. Routes, the OpenAPI document, the docs and tests follow it.

The app's own backend makes these calls. An edge relays each as a command of `registry`, through the lanes
that clients' events take, and answers with what the worker has answered.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec

from infra.wire import commands, events
from infra.wire.commands import Box, Limit, Seq, WithData
from infra.wire.errors import ErrorCode
from infra.wire.export import ExportAck
from infra.wire.registry import (
    CLOSE_REPORT,
    DISCONNECT_USER,
    ERASE_USER,
    EXPORT_USER,
    GET_REPORT,
    GET_USER,
    LIST_REPORTS,
    PUT_USER,
    REMOVE_MESSAGE,
    REVISE_MESSAGE,
    SEND_SYSTEM_MESSAGE,
)

PREFIX: Final = "/v1/"
MESSAGES_MAX: Final = 100
"""Messages in one call."""
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
IDEMPOTENCY_KEY_CHARS: Final = 60
"""Longest key. A `clientId` is made of it, of which nobody can read it."""
_KEY: Final = re.compile(rf"[\x21-\x7e]{{1,{IDEMPOTENCY_KEY_CHARS}}}")

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Scope(StrEnum):
    """What an API key may be used for."""

    MESSAGES = "messages"
    USERS = "users"
    READ = "read"
    MODERATE = "moderate"


STATUS: Final = {
    ErrorCode.INVALID_PAYLOAD: HTTPStatus.BAD_REQUEST,
    ErrorCode.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.TOKEN_EXPIRED: HTTPStatus.UNAUTHORIZED,
    ErrorCode.FORBIDDEN_ORIGIN: HTTPStatus.FORBIDDEN,
    ErrorCode.NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    ErrorCode.NOT_A_MEMBER: HTTPStatus.FORBIDDEN,
    ErrorCode.TOO_LATE: HTTPStatus.FORBIDDEN,
    ErrorCode.UNKNOWN_EVENT: HTTPStatus.NOT_FOUND,
    ErrorCode.USER_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.CHAT_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.MESSAGE_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.REPORT_NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.PROFILE_MISSING: HTTPStatus.CONFLICT,
    ErrorCode.USERNAME_TAKEN: HTTPStatus.CONFLICT,
    ErrorCode.PAYLOAD_TOO_LARGE: HTTPStatus(413),  # its name differs between versions of Python
    ErrorCode.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.BUSY: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    ErrorCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The HTTP status of each error code."""


class _Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class NewMessage(WithData, frozen=True, kw_only=True):
    """A message to send as a user, or as the system."""

    from_: UUID = msgspec.field(name="from")
    """Id of the user who writes it, or in whose chat the app says it. They need a profile."""
    to: UUID
    """Id of the recipient."""
    text: str = ""
    """At least one visible character, unless there is `data`."""
    data: commands.Data | msgspec.UnsetType = msgspec.UNSET
    """Anything else that the app wants to say: a JSON object."""
    reply_to: Seq | None = None
    """Seq of the message of this chat that this one answers."""
    kind: events.Kind | msgspec.UnsetType = msgspec.UNSET
    """`system`: the app says it, in the chat of the two. Without it, the user does."""


class NewMessages(_Body, frozen=True, kw_only=True):
    """Messages to send, each as a user or as the system. Those of one user are stored in this order."""

    messages: Annotated[list[NewMessage], msgspec.Meta(min_length=1, max_length=MESSAGES_MAX)]


class MessageContent(WithData, frozen=True, kw_only=True):
    """What a message says from now on."""

    text: str
    """At least one visible character, unless there is `data`."""
    data: commands.Data | msgspec.UnsetType = msgspec.UNSET
    """The new `data`; null removes it. Without it, the message keeps what it has."""


class UserProfile(WithData, frozen=True, kw_only=True):
    """What others are to see of a user. What is left out stays as it is, and null removes it."""

    username: commands.Username
    """The user's own name in the chat, by which others find them. Always given."""
    name: commands.DisplayName | msgspec.UnsetType | None = msgspec.UNSET
    """What the user is called. Several users may have the same."""
    avatar_url: commands.AvatarUrl | msgspec.UnsetType | None = msgspec.UNSET
    """Address of a picture."""
    data: commands.Data | msgspec.UnsetType = msgspec.UNSET
    """Anything else that everybody who chats with the user may know: a JSON object."""


class ErasureQuery(_Body, frozen=True, kw_only=True):
    """What becomes of a user's messages."""

    mode: commands.ErasureMode
    """`delete` erases them, up to tombstones; `anonymise` leaves them, and nobody knows whose they are."""


class ExportQuery(_Body, frozen=True, kw_only=True):
    """Which page of an export."""

    cursor: str | msgspec.UnsetType = msgspec.UNSET
    """`nextCursor` of the previous page."""


class BlocksQuery(_Body, frozen=True, kw_only=True):
    """Which page of those whom a user has blocked."""

    cursor: str | msgspec.UnsetType = msgspec.UNSET
    """`nextCursor` of the previous page."""
    limit: Limit | msgspec.UnsetType = msgspec.UNSET
    """How many users."""


class ReportsQuery(_Body, frozen=True, kw_only=True):
    """Which page of reports to list: by default the newest open ones."""

    with_closed: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether to list closed ones, too."""
    cursor: str | msgspec.UnsetType = msgspec.UNSET
    """`nextCursor` of the previous page."""
    limit: Limit | msgspec.UnsetType = msgspec.UNSET
    """How many reports."""


class Problem(_Body, frozen=True, kw_only=True):
    """Why a call has failed (RFC 9457, `application/problem+json`)."""

    type: str
    """Always `about:blank`: `code` says more."""
    title: str
    """The name of the HTTP status."""
    status: int
    """The HTTP status."""
    detail: str
    """One sentence for people. It may change, so do not compare it."""
    code: ErrorCode
    """The same stable codes that clients get."""
    retryable: bool
    """Whether the same call may succeed later."""
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET
    """When to try again, in milliseconds, if the server knows it."""


class SendResult(_Body, frozen=True, kw_only=True):
    """What became of one of several messages: one of the two fields."""

    message: events.Message | msgspec.UnsetType = msgspec.UNSET
    """The message as it is stored."""
    problem: Problem | msgspec.UnsetType = msgspec.UNSET
    """Why it is not stored."""


class SendResults(_Body, frozen=True, kw_only=True):
    """What became of several messages, in their order."""

    results: list[SendResult]


class ChatsQuery(_Body, frozen=True, kw_only=True):
    """Which of a user's chats to list."""

    box: Box | msgspec.UnsetType = msgspec.UNSET
    """Only the chats in this box. Without it, those of the inbox and archived ones."""
    cursor: str | msgspec.UnsetType = msgspec.UNSET
    """`nextCursor` of the previous page."""
    limit: Limit | msgspec.UnsetType = msgspec.UNSET
    """How many chats."""


class MessagesQuery(_Body, frozen=True, kw_only=True):
    """Which page of a chat's history to read: by default the newest one."""

    before: Seq | msgspec.UnsetType = msgspec.UNSET
    """Only messages with a smaller seq, the newest of them."""
    after: Seq | msgspec.UnsetType = msgspec.UNSET
    """Only messages with a greater seq, the oldest of them."""
    limit: Limit | msgspec.UnsetType = msgspec.UNSET
    """How many messages."""


PATH_FIELDS: Final[dict[str, object]] = {
    "userId": UUID,
    "otherId": UUID,
    "chatId": UUID,
    "seq": Seq,
    "reportId": UUID,
}
"""The types of what stands in braces in a path."""
ACTING: Final = "userId"
"""What names, in a path, the user as whom the command runs, if it `is_by_user`."""
OTHER: Final = "otherId"
"""What names, in a path, another user: the `userId` of a command that runs as the first one."""
NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""As whom a command runs that the backend sends on its own behalf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that a backend may make."""

    name: str
    """Its label in metrics, and its `operationId`."""
    method: Method
    path: str
    scope: Scope
    command: str
    """The command that is relayed, with what the path, the query and the body say."""
    summary: str
    """What it does: one sentence, for people."""
    answers: tuple[tuple[HTTPStatus, type[msgspec.Struct]], ...]
    """What it answers if it succeeds, for each of `bodies` if there are any: what it says is committed."""
    bodies: tuple[type[msgspec.Struct], ...] = ()
    """What the body may be."""
    query: type[msgspec.Struct] | None = None
    errors: tuple[ErrorCode, ...] = ()
    """Codes with which it can fail, besides `COMMON_ERRORS`."""
    is_by_user: bool = False
    """Whether the command runs as the user whom the path names. Otherwise the backend itself asks."""
    is_repeatable: bool = True
    """Whether it is safe to repeat by itself. Otherwise the header `Idempotency-Key` makes it so."""

    @property
    def status(self) -> HTTPStatus:
        """The status of its usual success."""
        return self.answers[0][0]


COMMON_ERRORS: Final = (
    ErrorCode.INVALID_PAYLOAD,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.NOT_ALLOWED,
    ErrorCode.PAYLOAD_TOO_LARGE,
    ErrorCode.RATE_LIMITED,
    ErrorCode.BUSY,
    ErrorCode.TIMEOUT,
    ErrorCode.UNAVAILABLE,
    ErrorCode.INTERNAL,
)
"""Codes with which every call can fail. `not_allowed` says that the key has not the scope, or more."""

SEND_MESSAGES: Final = "send_messages"

_CALLS: Final = (
    Call(
        name=SEND_MESSAGES,
        method="POST",
        path="/v1/messages",
        scope=Scope.MESSAGES,
        command="send_message",
        summary="Sends a message as a user or as the system, or up to 100 messages at once.",
        bodies=(NewMessage, NewMessages),
        answers=((HTTPStatus.CREATED, events.SendAck), (HTTPStatus.OK, SendResults)),
        errors=(ErrorCode.USER_NOT_FOUND, ErrorCode.PROFILE_MISSING, ErrorCode.MESSAGE_NOT_FOUND),
        is_repeatable=False,
    ),
    Call(
        name="put_user",
        method="PUT",
        path="/v1/users/{userId}",
        scope=Scope.USERS,
        command=PUT_USER,
        summary="Makes or changes a user's profile.",
        bodies=(UserProfile,),
        answers=((HTTPStatus.OK, events.UserAck),),
        errors=(ErrorCode.USER_NOT_FOUND, ErrorCode.USERNAME_TAKEN),
    ),
    Call(
        name="get_user",
        method="GET",
        path="/v1/users/{userId}",
        scope=Scope.USERS,
        command=GET_USER,
        summary="Returns a user's profile.",
        answers=((HTTPStatus.OK, events.UserAck),),
        errors=(ErrorCode.USER_NOT_FOUND,),
    ),
    Call(
        name="disconnect_user",
        method="POST",
        path="/v1/users/{userId}/disconnect",
        scope=Scope.USERS,
        command=DISCONNECT_USER,
        summary="Signs a user out everywhere: sockets end, and tokens issued until now are refused.",
        answers=((HTTPStatus.OK, events.SignOutAck),),
    ),
    Call(
        name="erase_user",
        method="DELETE",
        path="/v1/users/{userId}",
        scope=Scope.USERS,
        command=ERASE_USER,
        summary="Signs a user out and has them erased soon; if that was asked before, says how far it is.",
        query=ErasureQuery,
        answers=((HTTPStatus.ACCEPTED, events.ErasureAck),),
        errors=(ErrorCode.USER_NOT_FOUND,),
    ),
    Call(
        name="export_user",
        method="GET",
        path="/v1/users/{userId}/export",
        scope=Scope.USERS,
        command=EXPORT_USER,
        summary="Returns what the chat holds of a user, page by page.",
        query=ExportQuery,
        answers=((HTTPStatus.OK, ExportAck),),
        errors=(ErrorCode.USER_NOT_FOUND,),
    ),
    Call(
        name="list_chats",
        method="GET",
        path="/v1/users/{userId}/chats",
        is_by_user=True,
        scope=Scope.READ,
        command="list_chats",
        summary="Lists a user's chats as the user sees them, newest activity first.",
        query=ChatsQuery,
        answers=((HTTPStatus.OK, events.ChatsAck),),
        errors=(ErrorCode.PROFILE_MISSING,),
    ),
    Call(
        name="get_messages",
        method="GET",
        path="/v1/users/{userId}/chats/{chatId}/messages",
        is_by_user=True,
        scope=Scope.READ,
        command="get_messages",
        summary="Returns a page of a chat's history as the user sees it.",
        query=MessagesQuery,
        answers=((HTTPStatus.OK, events.MessagesAck),),
        errors=(ErrorCode.PROFILE_MISSING, ErrorCode.CHAT_NOT_FOUND, ErrorCode.NOT_A_MEMBER),
    ),
    Call(
        name="revise_message",
        method="PATCH",
        path="/v1/chats/{chatId}/messages/{seq}",
        scope=Scope.MODERATE,
        command=REVISE_MESSAGE,
        summary="Edits anybody's message, however old it is.",
        bodies=(MessageContent,),
        answers=((HTTPStatus.OK, events.ChangeAck),),
        errors=(ErrorCode.CHAT_NOT_FOUND, ErrorCode.MESSAGE_NOT_FOUND),
    ),
    Call(
        name="remove_message",
        method="DELETE",
        path="/v1/chats/{chatId}/messages/{seq}",
        scope=Scope.MODERATE,
        command=REMOVE_MESSAGE,
        summary="Removes anybody's message, however old it is, as if its sender had unsent it.",
        answers=((HTTPStatus.OK, events.ChangeAck),),
        errors=(ErrorCode.CHAT_NOT_FOUND, ErrorCode.MESSAGE_NOT_FOUND),
    ),
    Call(
        name="list_blocks",
        method="GET",
        path="/v1/users/{userId}/blocks",
        is_by_user=True,
        scope=Scope.MODERATE,
        command="list_blocked",
        summary="Lists those whom a user has blocked, most recently blocked first.",
        query=BlocksQuery,
        answers=((HTTPStatus.OK, events.BlockedAck),),
        errors=(ErrorCode.PROFILE_MISSING,),
    ),
    Call(
        name="block_user",
        method="PUT",
        path="/v1/users/{userId}/blocks/{otherId}",
        is_by_user=True,
        scope=Scope.MODERATE,
        command="block_user",
        summary="Blocks another user for a user, as if that user had.",
        answers=((HTTPStatus.OK, events.BlockAck),),
        errors=(ErrorCode.USER_NOT_FOUND, ErrorCode.PROFILE_MISSING),
    ),
    Call(
        name="unblock_user",
        method="DELETE",
        path="/v1/users/{userId}/blocks/{otherId}",
        is_by_user=True,
        scope=Scope.MODERATE,
        command="unblock_user",
        summary="Removes a user's block of another user.",
        answers=((HTTPStatus.OK, events.BlockAck),),
        errors=(ErrorCode.USER_NOT_FOUND, ErrorCode.PROFILE_MISSING),
    ),
    Call(
        name="list_reports",
        method="GET",
        path="/v1/reports",
        scope=Scope.MODERATE,
        command=LIST_REPORTS,
        summary="Lists the messages that users have reported, newest report first.",
        query=ReportsQuery,
        answers=((HTTPStatus.OK, events.ReportsAck),),
    ),
    Call(
        name="get_report",
        method="GET",
        path="/v1/reports/{reportId}",
        scope=Scope.MODERATE,
        command=GET_REPORT,
        summary="Returns a report with its copies of messages.",
        answers=((HTTPStatus.OK, events.ReportCopyAck),),
        errors=(ErrorCode.REPORT_NOT_FOUND,),
    ),
    Call(
        name="close_report",
        method="POST",
        path="/v1/reports/{reportId}/close",
        scope=Scope.MODERATE,
        command=CLOSE_REPORT,
        summary="Closes a report.",
        answers=((HTTPStatus.OK, events.KeptReportAck),),
        errors=(ErrorCode.REPORT_NOT_FOUND,),
    ),
)

CALLS: Final = {call.name: call for call in _CALLS}


def as_command(call: Call, path: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return as whom the command of a call runs, and its payload as far as the path says it."""
    payload = dict(path)
    user_id = str(payload.pop(ACTING)) if call.is_by_user else NOBODY
    if OTHER in payload:
        payload[ACTING] = payload.pop(OTHER)
    return user_id, payload


def as_send(message: NewMessage, client_id: str | None) -> tuple[str, commands.SendMessage]:
    """Return the name and the payload of the command that sends a message as its sender, or as the system."""
    name = "send_message" if message.kind is msgspec.UNSET else SEND_SYSTEM_MESSAGE
    command = commands.SendMessage(
        user_id=message.to,
        text=message.text,
        data=message.data,
        reply_to=message.reply_to,
        client_id=client_id,
    )
    return name, command


def is_idempotency_key(key: str) -> bool:
    """Return whether a key may be one."""
    return _KEY.fullmatch(key) is not None


def keyed_client_id(key: str, place: int | None = None) -> str | None:
    """Return the id of a message with this key, at this place of a call with several. None without a key.

    Both users of the chat see it, so it is a hash. No key contains a space, so no place looks like a key.
    """
    if not key:
        return None
    named = key if place is None else f"{key} {place}"
    return f"api-{sha256(named.encode()).hexdigest()[:32]}"
