"""The documents about the server API are what its registry says."""

import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from infra.contract.files import FOLDER
from infra.settings.edge import EdgeSettings
from infra.wire.errors import ErrorCode
from infra.wire.server_api import (
    CALLS,
    COMMON_ERRORS,
    IDEMPOTENCY_KEY_CHARS,
    MESSAGES_MAX,
    PATH_FIELDS,
    SEND_MESSAGES,
    STATUS,
    Call,
    Scope,
)
from socket_edge.api.server import IN_FLIGHT_MAX
from socket_edge.connection.bounds import SHUTDOWN_S
from tests.contract.call_table import PAGE, with_tables

OPENAPI: dict[str, Any] = yaml.load((FOLDER / "openapi.yaml").read_text(), yaml.CSafeLoader)
TEXT = " ".join(PAGE.read_text().split())


def operation(call: Call) -> dict[str, Any]:
    found = OPENAPI["paths"][call.path][call.method.lower()]
    assert isinstance(found, dict)
    return found


def test_the_tables_are_those_of_the_registry() -> None:
    assert with_tables(PAGE.read_text()) == PAGE.read_text(), "run `make tables`"


def test_every_error_code_has_an_http_status() -> None:
    assert STATUS.keys() == set(ErrorCode)
    assert {code for code in ErrorCode if code.retryable} - {ErrorCode.TOKEN_EXPIRED} == {
        code for code, status in STATUS.items() if status in (429, 503, 504)
    }


def test_no_two_calls_are_the_same() -> None:
    assert len({(call.method, call.path) for call in CALLS.values()}) == len(CALLS)
    assert {name for call in CALLS.values() for name in re.findall(r"\{(\w+)\}", call.path)} <= {*PATH_FIELDS}


def test_every_scope_is_documented() -> None:
    for scope in Scope:
        assert f"`{scope}`" in TEXT


def test_the_document_has_every_call_and_no_other() -> None:
    found = {(method.upper(), path) for path, methods in OPENAPI["paths"].items() for method in methods}
    assert found == {(call.method, call.path) for call in CALLS.values()}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_is_documented_with_its_answers_and_errors(call: Call) -> None:
    responses = operation(call)["responses"]
    codes = [code for response in responses.values() for code in response.get("x-errors", ())]
    assert {*codes} == {*call.errors, *COMMON_ERRORS}
    assert {*responses} == {
        *(str(int(status)) for status, _ in call.answers),
        *(str(int(STATUS[code])) for code in codes),
    }
    named = {parameter["name"] for parameter in operation(call)["parameters"]}
    assert {*re.findall(r"\{(\w+)\}", call.path)} <= named
    assert ("Idempotency-Key" in named) is not call.is_repeatable


def test_every_reference_of_the_document_leads_somewhere() -> None:
    schemas = OPENAPI["components"]["schemas"]
    references = set(re.findall(r"#/components/schemas/(\w+)", str(OPENAPI)))
    assert references <= schemas.keys()
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    "promise",
    [
        f"| calls at once | {IN_FLIGHT_MAX} on one edge",
        f"| messages in a call | {MESSAGES_MAX} |",
        f"Up to {MESSAGES_MAX} messages go in one call",
        f"1 to {IDEMPOTENCY_KEY_CHARS} visible ASCII characters",
        f"for up to {SHUTDOWN_S} seconds",
    ],
)
def test_the_page_promises_the_numbers_of_the_code(promise: str) -> None:
    assert promise in TEXT


def test_whatever_runs_as_a_user_can_find_them_deleted() -> None:
    by_users = [call for call in CALLS.values() if call.is_by_user or call.name == SEND_MESSAGES]
    assert all(ErrorCode.PROFILE_MISSING in call.errors for call in by_users)


def test_without_keys_there_is_no_server_api() -> None:
    assert EdgeSettings.model_fields["api_keys"].default == ()
