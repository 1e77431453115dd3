"""The published contract is what the code says, and what edges and workers accept and send."""

from functools import cache
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator

from infra.contract.files import FOLDER, ROOT, SCHEMAS, TYPESCRIPT, files
from infra.contract.structs import RECEIVED, SENT, Struct, with_parts
from infra.wire import events
from infra.wire.errors import ErrorCode, Failure
from infra.wire.registry import (
    CLIENT_COMMANDS,
    COMMON_ERRORS,
    CONNECT_ERRORS,
    INTERNAL_COMMANDS,
    SERVER_EVENTS,
)
from tests.contract.golden import encoded, load, on_the_wire
from tests.contract.published import golden, validator


@cache
def made() -> dict[Path, str]:
    """Return what the code says now."""
    return files()


def names(structs: tuple[Struct, ...]) -> set[str]:
    return {struct.__name__ for struct in structs}


STRUCTS = {struct.__name__: struct for struct in with_parts((*SENT, *RECEIVED))}
GOLDEN = [pytest.param(*one, id=f"{one[0]}-{number}") for number, one in enumerate(golden())]
OTHER_VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    1.5,
    2**63,
    "",
    "text",
    "x" * 3_000,
    [],
    ["x"],
    {},
    {"x": "y"},
]

ASYNCAPI = yaml.load((FOLDER / "asyncapi.yaml").read_text(), yaml.CSafeLoader)


FILES = sorted([TYPESCRIPT, *(path for path in FOLDER.rglob("*") if path.is_file())])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_of_the_contract_is_what_the_code_says(path: Path) -> None:
    assert path.read_text() == made().get(path), "run `make contract`"


def test_the_contract_has_all_files_and_no_other() -> None:
    assert {*FILES} == made().keys()


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_a_schema_is_valid_itself(path: Path) -> None:
    Draft202012Validator.check_schema(msgspec.json.decode(path.read_bytes()))


@pytest.mark.parametrize(("name", "value"), GOLDEN)
def test_what_the_golden_files_hold_is_valid(name: str, value: Any) -> None:
    validator(name, is_closed=True).validate(value)


@pytest.mark.parametrize(("name", "value"), GOLDEN)
def test_unknown_fields_are_valid(name: str, value: Any) -> None:
    validator(name).validate({**value, "fromTheFuture": 1})


@pytest.mark.parametrize(("name", "value"), [one for one in GOLDEN if one.values[0] in names(SENT)])
def test_a_schema_accepts_exactly_what_workers_accept(name: str, value: Any) -> None:
    schema = validator(name)
    for payload in changed(value, STRUCTS[name]):
        assert schema.is_valid(payload) == is_decoded(payload, STRUCTS[name]), payload


@pytest.mark.parametrize(("name", "value"), [one for one in GOLDEN if one.values[0] in names(RECEIVED)])
def test_a_schema_requires_what_servers_always_send(name: str, value: Any) -> None:
    schema = validator(name)
    for field in msgspec.structs.fields(STRUCTS[name]):
        without = {key: item for key, item in value.items() if key != field.encode_name}
        assert schema.is_valid(without) == (msgspec.UnsetType in get_args(field.type)), field


@pytest.mark.parametrize("name", [name for name in STRUCTS if name.endswith("Ack")])
def test_success_tells_acks_apart(name: str) -> None:
    (ack, *_) = (value for known, value in golden() if known == name)
    assert ack["success"] is (name != "ErrorAck")
    assert not validator(name).is_valid({**ack, "success": not ack["success"]})


def changed(value: dict[str, Any], struct: Struct) -> list[dict[str, Any]]:
    """Return the value with each field left out, and with other values in each field."""
    fields = [field.encode_name for field in msgspec.structs.fields(struct)]
    without = [{key: item for key, item in value.items() if key != name} for name in fields]
    return [*without, *({**value, name: other} for name in fields for other in OTHER_VALUES)]


def is_decoded(value: Any, struct: Struct) -> bool:
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=struct)
    except msgspec.ValidationError:
        return False
    return True


def test_the_auth_is_decoded_as_in_the_golden_file() -> None:
    (auth,) = load("connecting")["auth"]
    assert on_the_wire(msgspec.json.decode(encoded(auth), type=STRUCTS["Auth"])) == auth


def test_a_refusal_looks_as_in_the_golden_file() -> None:
    failures = [Failure.of(ErrorCode.TOKEN_EXPIRED), Failure.of(ErrorCode.RATE_LIMITED, retry_after_ms=140)]
    assert [on_the_wire(events.error_event(one)) for one in failures] == load("connecting")["connect_error"]


def test_asyncapi_describes_every_event_and_no_internal_one() -> None:
    assert set(ASYNCAPI["operations"]) == {
        "client.connect",
        *(f"client.{name}" for name in CLIENT_COMMANDS),
        *(f"server.{name}" for name in SERVER_EVENTS),
    }
    assert not [name for name in INTERNAL_COMMANDS if f"client.{name}" in ASYNCAPI["components"]["messages"]]


@pytest.mark.parametrize("message", ASYNCAPI["components"]["messages"])
def test_every_message_of_asyncapi_is_in_the_channel(message: str) -> None:
    assert ASYNCAPI["channels"]["chat"]["messages"][message] == {"$ref": f"#/components/messages/{message}"}


@pytest.mark.parametrize("event", SERVER_EVENTS.values(), ids=lambda event: event.name)
def test_asyncapi_has_a_reply_to_a_server_event_that_asks_for_an_ack(event: Any) -> None:
    assert ("reply" in ASYNCAPI["operations"][f"server.{event.name}"]) == event.asks_for_ack


def test_every_error_code_is_the_error_of_something() -> None:
    own = {code for command in CLIENT_COMMANDS.values() for code in command.errors}
    of_backends = {ErrorCode.USERNAME_TAKEN, ErrorCode.REPORT_NOT_FOUND}
    assert {*own, *COMMON_ERRORS, *CONNECT_ERRORS, *of_backends} == set(ErrorCode)
    assert own.isdisjoint(COMMON_ERRORS)
