"""Carries out the calls of the server API: each is relayed as a command, and answered as a worker answers."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl
from zlib import crc32

import msgspec

from infra.wire.errors import ErrorCode, Failure, Rejection
from infra.wire.inbox import Answer
from infra.wire.server_api import (
    ACTING,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_KEY_CHARS,
    NOBODY,
    PATH_FIELDS,
    Call,
    NewMessage,
    NewMessages,
    SendResult,
    as_command,
    as_send,
    is_idempotency_key,
    keyed_client_id,
)
from socket_edge.api.problems import to_problem
from socket_edge.json_text import is_too_deep
from socket_edge.relay.lanes import Lanes
from socket_edge.relay.pending import asked

_CHAT: Final = "chatId"
"""What names, in a path without a user, the chat whose changes must stay in order.

Calls without either stay in order as well.
"""
T = TypeVar("T")


class _Shape(msgspec.Struct):
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Sent(msgspec.Struct):
    """The ack of a send, as far as it is looked at."""

    message: msgspec.Raw


class _RawResult(msgspec.Struct):
    """`SendResult` with a message that nobody has decoded."""

    message: msgspec.Raw


class Calls:
    """Relays calls, and waits for their answers."""

    def __init__(self, lanes: Lanes, payload_bytes: int) -> None:
        self._lanes = lanes
        self._payload_bytes = payload_bytes
        self._too_large = f"The message is larger than {payload_bytes} bytes."

    async def relay(self, call: Call, path: Mapping[str, str], query: bytes, body: bytes) -> bytes:
        """Relay what path, query and body say as one command. Raises Rejection."""
        named = _from_path(path)
        order_by = str(named.get(ACTING) or named.get(_CHAT) or NOBODY)
        user_id, payload = as_command(call, named)
        if call.query is not None:
            given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
            payload |= msgspec.to_builtins(_valid(given, call.query))
        for struct in call.bodies:
            payload = _fields(body, struct) | payload
        encoded = msgspec.json.encode(payload)
        if len(encoded) > self._payload_bytes:
            raise Rejection(ErrorCode.PAYLOAD_TOO_LARGE, self._too_large)
        return _ack(await self._relay(order_by, user_id, call.command, encoded))

    async def send(self, body: bytes, key: str) -> bytes:
        """Send one message. `key`, if it is not empty, makes it safe to repeat. Raises Rejection."""
        return _ack(await self._send(_decoded(body, NewMessage), keyed_client_id(key)))

    async def send_many(self, many: NewMessages, key: str) -> bytes:
        """Send messages; return what became of each."""
        # All are relayed before any is answered: in this order, and together, but that an idle lane
        # does not wait for the second one.
        answers = [
            self._send(message, keyed_client_id(key, place)) for place, message in enumerate(many.messages)
        ]
        return msgspec.json.encode(
            {"results": [_result(answer) for answer in await asyncio.gather(*answers)]}
        )

    def _send(self, message: NewMessage, client_id: str | None) -> asyncio.Future[Answer]:
        name, command = as_send(message, client_id)
        payload = msgspec.json.encode(command)
        if len(payload) > self._payload_bytes:
            failed: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            failure = Failure.of(ErrorCode.PAYLOAD_TOO_LARGE, self._too_large)
            failed.set_result(Answer("", failure=failure))
            return failed
        user_id = str(message.from_)
        return self._relay(user_id, user_id, name, payload)

    def _relay(self, order_by: str, user_id: str, command: str, payload: bytes) -> asyncio.Future[Answer]:
        """Relay a command as a user. Those with the same `order_by` take one lane, so they stay in order."""
        lane = crc32(order_by.encode()) % len(self._lanes)
        return asked(lambda settle: self._lanes.relay(lane, command, user_id, payload, settle))


def read_messages(body: bytes) -> NewMessages | None:
    """Return the messages in a body that holds several; None if it holds one. Raises Rejection."""
    if _decoded(body, _Shape).messages is msgspec.UNSET:
        return None
    return _decoded(body, NewMessages)


def idempotency_key(header: bytes | None) -> str:
    """Return the key in a header; an empty text if there is no header. Raises Rejection."""
    if header is None:
        return ""
    key = header.decode("latin-1")
    if not is_idempotency_key(key):
        text = f"`{IDEMPOTENCY_KEY}` must have 1 to {IDEMPOTENCY_KEY_CHARS} visible ASCII characters."
        raise Rejection(ErrorCode.INVALID_PAYLOAD, text)
    return key


def _from_path(path: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields in a path. Raises Rejection."""
    return {name: msgspec.to_builtins(_valid(value, PATH_FIELDS[name])) for name, value in path.items()}


def _fields(body: bytes, struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the fields of a body as they came, without those that the struct has not. Raises Rejection."""
    _decoded(body, struct)
    given = _decoded(body, dict[str, msgspec.Raw])
    return {name: given[name] for name in struct.__struct_encode_fields__ if name in given}


def _valid(value: object, kind: Any) -> Any:
    try:
        return msgspec.convert(value, type=kind, strict=False)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, f"Invalid request: {error}.") from error


def _decoded(body: bytes, kind: type[T]) -> T:
    if is_too_deep(body):
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "The body is nested too deep.")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, f"Invalid body: {error}.") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Rejection(ErrorCode.INVALID_PAYLOAD, "The body is not valid JSON in UTF-8.") from error


def _ack(answer: Answer) -> bytes:
    """Return what a worker has answered. Raises Rejection."""
    if (failure := answer.failure) is not None:
        raise Rejection(failure.code, failure.message, retry_after_ms=failure.retry_after_ms)
    return bytes(answer.data)


def _result(answer: Answer) -> _RawResult | SendResult:
    if answer.failure is not None:
        return SendResult(problem=to_problem(answer.failure))
    return _RawResult(msgspec.json.decode(answer.data, type=_Sent).message)
