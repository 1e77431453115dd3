"""What operators do as the app's own backend does it: with the calls of the server API, but without an edge.

The handler of the workers runs in the process of the command. Arguments and options are the fields of a call.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import click
import msgspec
from msgspec import inspect

from infra.cli.local import local_option
from infra.errors import CommandError
from infra.logs import printable
from infra.settings.worker import WorkerSettings
from infra.wire.errors import ErrorCode, Failure
from infra.wire.server_api import (
    ACTING,
    CALLS,
    IDEMPOTENCY_KEY_CHARS,
    OTHER,
    PATH_FIELDS,
    SEND_MESSAGES,
    Call,
    NewMessage,
    as_command,
    as_send,
    is_idempotency_key,
    keyed_client_id,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine

VERBS: Final = {
    "put_user": "user put",
    "get_user": "user show",
    "disconnect_user": "user disconnect",
    "list_chats": "user chats",
    "list_blocks": "user blocks",
    "block_user": "user block",
    "unblock_user": "user unblock",
    SEND_MESSAGES: "message send",
    "get_messages": "message list",
    "revise_message": "message edit",
    "remove_message": "message remove",
}
"""The command for each call, except those that `user export`, `user delete` and `reports` stand for."""

_PEOPLE: Final = {ACTING: "USER", OTHER: "OTHER", "from": "FROM", "to": "TO"}
"""The fields that name a user, by id or name."""
_TEXT: Final = "text"
_STDIN: Final = "-"
_KEY: Final = "idempotency_key"
_NO_SOCKET: Final = ""
"""No socket is excluded from what is emitted."""


class Refused(click.ClickException):
    """Repeating the command does not help."""

    exit_code = 2


class _Field(NamedTuple):
    """What an argument or an option says."""

    name: str
    kind: Any
    is_argument: bool = True
    is_required: bool = True

    @property
    def variable(self) -> str:
        """Its name in Python."""
        return re.sub("([A-Z])", r"_\1", self.name).lower()

    def param(self) -> click.Parameter:
        """Return what click parses."""
        shown = _PEOPLE.get(self.name) or self.variable.upper()
        if self.is_argument:
            metavar = shown if self.is_required else f"[{shown}]"
            return click.Argument([self.variable], required=self.is_required, metavar=metavar)
        option = f"--{self.variable.replace('_', '-')}"
        return click.Option(
            [option, self.variable], required=self.is_required, metavar=_form(self.kind), show_default=False
        )


def verbs(group: str) -> Iterator[click.Command]:
    """Yield the commands of a group that are calls of the server API."""
    for name, words in VERBS.items():
        if words.split()[0] == group:
            yield _command(CALLS[name], words)


def _command(call: Call, words: str) -> click.Command:
    fields = list(_fields(call))
    params = [field.param() for field in fields]
    if not call.is_repeatable:
        option = "--idempotency-key"
        params.append(
            click.Option([option, _KEY], default="", help="Makes it safe to repeat, as in the API.")
        )

    @local_option
    def run(**given: str | None) -> None:
        key = given.pop(_KEY, None) or ""
        if key and not is_idempotency_key(key):
            text = f"--idempotency-key must have 1 to {IDEMPOTENCY_KEY_CHARS} visible ASCII characters"
            raise click.UsageError(text)
        written = {field: said for field in fields if (said := given[field.variable]) is not None}
        click.echo(_json(_ask(call, words, written, key)))

    return click.command(words.split()[1], params=params, help=_summary(call))(run)


def _summary(call: Call) -> str:
    """Return the summary as one of a command: `Sends ...` becomes `Send ...`."""
    if call.name == SEND_MESSAGES:
        return "Send a message as a user, or as the system. With - as TEXT, it is read from stdin."
    verb, rest = call.summary.split(" ", 1)
    return f"{verb.removesuffix('s')} {rest}"


def _fields(call: Call) -> Iterator[_Field]:
    for name in re.findall(r"\{(\w+)\}", call.path):
        yield _Field(name, PATH_FIELDS[name])
    for struct in (call.query, *call.bodies[:1]):
        for field in msgspec.structs.fields(struct) if struct else ():
            name = field.encode_name
            yield _Field(name, field.type, name in _PEOPLE or name == _TEXT, field.required)


def _ask(call: Call, words: str, written: Mapping[_Field, str], key: str) -> bytes:
    """Have the handler do what is asked and tell clients; return its answer.

    Raises Refused, CommandError and click.UsageError.
    """
    settings = WorkerSettings.load()
    from infra.cli.unreachable import worker_errors_in_one_line

    with worker_errors_in_one_line(words, settings.database_url, settings.redis_url):
        import uuid_utils

        from infra.logs import configure_logs
        from infra.wire.batch import Event
        from workers.app import make_parts

        configure_logs(as_json=settings.log_json, level=settings.log_level)
        parts = make_parts(settings)
        said = {field.name: _value(field, text, parts.engine) for field, text in written.items()}
        user_id, name, payload = _to_command(call, said, key)
        event = Event(str(uuid_utils.uuid7()), name, user_id, _NO_SOCKET, msgspec.Raw(payload))
        answer = parts.processor.process_alone(event)
    if answer.failure is not None:
        raise _failed(words, answer.failure)
    return bytes(answer.data)


def _json(answer: bytes) -> str:
    """Return an answer as JSON, with everything escaped that could steer a terminal or hide what is there."""
    written = msgspec.json.format(answer, indent=2).decode()
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in written)


def _to_command(call: Call, said: dict[str, Any], key: str) -> tuple[str, str, bytes]:
    """Return as whom which command runs, and its payload."""
    if call.name == SEND_MESSAGES:
        try:
            message = msgspec.json.decode(msgspec.json.encode(said), type=NewMessage)
        except msgspec.ValidationError as error:
            raise click.UsageError(str(error)) from error
        name, command = as_send(message, keyed_client_id(key))
        return str(message.from_), name, msgspec.json.encode(command)
    user_id, payload = as_command(call, said)
    return user_id, call.command, msgspec.json.encode(payload)


def _failed(words: str, failure: Failure) -> click.ClickException | CommandError:
    told = f"{printable(failure.message)} ({failure.code})"
    if failure.code.retryable:
        return CommandError(f"{words} failed: {told}")
    if failure.code is ErrorCode.INTERNAL:
        return CommandError(f"{words} failed: {told}; see `bbgram dead-letters`")
    return Refused(f"{words} was refused: {told}")


def _value(field: _Field, written: str, engine: "Engine") -> object:
    """Return what a field says, as JSON has it. Raises click.UsageError, which quotes no text."""
    if field.name in _PEOPLE:
        return _find(engine, written)
    try:
        if field.name == _TEXT:
            return _read_text() if written == _STDIN else written.encode().decode()
        kinds = _kinds(field.kind)
        if not written and inspect.NoneType() in kinds:
            return None
        if inspect.RawType() in kinds:
            msgspec.json.decode(written)
            return msgspec.Raw(written.encode())
        return msgspec.to_builtins(msgspec.convert(written, type=field.kind, strict=False))
    except (ValueError, RecursionError) as error:  # also of JSON, and of what is not UTF-8
        told = type(error).__name__ if isinstance(error, UnicodeError | RecursionError) else str(error)
        raise click.UsageError(f"`{field.name}` is not valid: {printable(told)}") from error


def _read_text() -> str:
    """Return what stdin says, without the line break after it. Raises UnicodeDecodeError."""
    return sys.stdin.buffer.read().decode().removesuffix("\n")


def _kinds(kind: Any) -> tuple[inspect.Type, ...]:
    """Return the types that a field may have."""
    found = inspect.type_info(kind)
    if isinstance(found, inspect.Metadata):
        found = found.type
    return found.types if isinstance(found, inspect.UnionType) else (found,)


def _form(kind: Any) -> str:
    """Return what a field must look like, for `--help`."""
    for one in _kinds(kind):
        if isinstance(one, inspect.LiteralType):
            return "|".join(map(str, one.values))
        if isinstance(one, inspect.RawType):
            return "JSON"
        if isinstance(one, inspect.IntType):
            return "NUMBER"
    return "TEXT"


def _find(engine: "Engine", id_or_name: str) -> str:
    """Return the id of a user. An id need not be known: the handler says so."""
    try:
        return str(UUID(id_or_name))
    except ValueError:
        pass
    from functions.people import find_person

    person = find_person(engine, id_or_name)
    if person is None:
        raise click.UsageError(f"there is no user {printable(id_or_name)}")
    return str(person.id)
