"""The page of the contract in Markdown: every event with its payload, acks, errors and examples."""

import json
from collections import Counter
from collections.abc import Iterator
from textwrap import wrap
from typing import Any, Final

from infra.contract import examples
from infra.contract.field_table import field_table
from infra.contract.schemas import ERROR_CODE, schemas
from infra.contract.structs import ERROR_CODES, RECEIVED, SENT, Struct, description, with_parts
from infra.wire.commands import Auth
from infra.wire.errors import ErrorCode
from infra.wire.events import ErrorAck, ErrorEvent
from infra.wire.registry import (
    CLIENT_COMMANDS,
    COMMON_ERRORS,
    CONNECT_ERRORS,
    SERVER_EVENTS,
    Command,
    ServerEvent,
)

_HEAD: Final = """\
<!-- Written by `make contract` from infra/wire. Do not edit. -->

# Contract

Every event with its payload, ack, errors and examples. [events.md](../events.md) explains them, and says what
clients must do. Like this page, these files are written from the code:

- [asyncapi.yaml](asyncapi.yaml): the same as an AsyncAPI 3.0 document
- `docs/contract/schemas/`: a JSON Schema (2020-12) of each object, linked below
- `clients/typescript/src/contract.ts`: types of the objects, and of the events as Socket.IO wants them

Events, fields and codes are added, but never renamed or removed. Ignore those that you do not know.

## Use it

TypeScript, with the stock client and a copy of `contract.ts`:

```ts
import { io, type Socket } from 'socket.io-client';
import type { ClientToServerEvents, ServerToClientEvents } from './contract.js';

const auth = { token: 'the access token' };
const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io('https://chat.example.com', { auth });
socket.on('new_message', (message, ack) => {
  console.log(message.senderUsername, message.text);
  ack();
});
const answer = await socket.emitWithAck('send_message', { username: 'bob', text: 'Hello' });
if (answer.success) console.log(answer.message.seq);
else console.error(answer.code);
```

Classes for Kotlin, Swift, Dart, C# and others, from the schemas:

```sh
npx quicktype --src-lang schema --lang kotlin docs/contract/schemas/*.json -o Chat.kt
```
"""
_WIDTH: Final = 150
"""Characters of a line, of which links are not broken."""
_USES: Final[Counter[Struct]] = Counter(
    [
        Auth,
        ErrorEvent,
        ErrorAck,
        *(struct for command in CLIENT_COMMANDS.values() for struct in (command.payload, command.ack)),
        *(event.payload for event in SERVER_EVENTS.values()),
    ]
)
"""How many messages carry each struct."""
_INSIDE: Final = {part for whole in _USES for part in with_parts((whole,)) if part is not whole}
"""The structs that are inside others."""


def page() -> str:
    """Return the page."""
    parts = (_HEAD.splitlines(), _connecting(), _client_events(), _server_events(), _errors(), _objects())
    return "\n".join(line for part in parts for line in (*part, ""))


def _connecting() -> Iterator[str]:
    yield from ("## Connecting", "", *_payload("`auth`", Auth, examples.auth()))
    yield "The first event is [`connection_success`](#connection_success), unless the connection is refused."
    yield from ("", *_payload("`data` of a `connect_error`", ErrorEvent, examples.refusals()))
    yield from _wrapped(f"Codes: {_codes(CONNECT_ERRORS)}.")


def _client_events() -> Iterator[str]:
    yield "## Client to server"
    for command in CLIENT_COMMANDS.values():
        yield from ("", *_client_event(command))


def _client_event(command: Command) -> Iterator[str]:
    yield from (
        f"### `{command.name}`",
        "",
        f"{command.summary} [Read more](../events.md#{command.name})",
        "",
    )
    yield from _payload("Payload", command.payload, examples.sent()[command.name])
    yield from _payload("Ack", command.ack, examples.acks()[command.name])
    own = f"{_codes(command.errors)}, and " if command.errors else ""
    yield from _wrapped(f"**Errors:** {own}those of [every event](#errors).")


def _server_events() -> Iterator[str]:
    yield "## Server to client"
    for event in SERVER_EVENTS.values():
        yield from ("", *_server_event(event))


def _server_event(event: ServerEvent) -> Iterator[str]:
    anchor = f"{event.name}-1" if event.name in CLIENT_COMMANDS else event.name
    yield from (f"### `{event.name}`", "", f"{event.summary} [Read more](../events.md#{anchor})", "")
    yield from _payload("Payload", event.payload, examples.received()[event.name])
    yield f"**Ack:** {'asked for; its content does not matter' if event.asks_for_ack else 'none'}."


def _errors() -> Iterator[str]:
    yield from (
        "## Errors",
        "",
        "An event that fails raises an [`error`](#error), and is answered with this ack:",
        "",
    )
    yield from _payload("Ack", ErrorAck, examples.failed())
    yield from _wrapped(f"Every event can fail with {_codes(COMMON_ERRORS)}.")
    yield from ("", f"### {ERROR_CODE}", "")
    yield from (f"{ERROR_CODES} [Schema](schemas/{ERROR_CODE}.json)", "")
    yield from ("| code | retryable | usual message |", "| --- | --- | --- |")
    for code in ErrorCode:
        yield f"| {_codes((code,))} | {'yes' if code.retryable else 'no'} | {code.default_message} |"


def _objects() -> Iterator[str]:
    yield from ("## Objects", "", "What several events share, or what is inside others.")
    for struct in with_parts((*SENT, *RECEIVED)):
        if _has_section(struct):
            name = struct.__name__
            yield from ("", f"### {name}", "", f"{_text(struct)} [Schema](schemas/{name}.json)", "")
            yield from field_table(_SCHEMAS[name])


def _payload(label: str, struct: Struct, payloads: list[Any]) -> Iterator[str]:
    """Yield the fields, or a link to them if others share them, and the examples."""
    name = struct.__name__
    if not _has_section(struct):
        yield from (f"**{label}** ([{name}](schemas/{name}.json)): {_text(struct)}", "")
        yield from (*field_table(_SCHEMAS[name]), "")
    else:
        yield from (f"**{label}:** [{name}](#{name.lower()})", "")
    for payload in payloads:
        yield from ("```json", json.dumps(payload, indent=2, ensure_ascii=False), "```", "")


def _has_section(struct: Struct) -> bool:
    """Return whether a struct is described under a heading of its own, because others refer to it."""
    return _USES[struct] != 1 or struct in _INSIDE


def _text(struct: Struct) -> str:
    return " ".join(description(struct).split())


def _wrapped(text: str) -> list[str]:
    return wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _codes(codes: tuple[ErrorCode, ...]) -> str:
    return ", ".join(f"[`{code}`](../events.md#{code})" for code in codes)


_SCHEMAS: Final = schemas("{name}.json")
