"""Remote mode against an Auth server that answers strangely; tests/integration has the usual case."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from infra.settings.edge import AuthMode
from infra.wire.errors import ErrorCode
from socket_edge.auth import Authenticator, create_authenticator
from tests.harness.key_server import USER_ID, Project
from tests.unit.socket_edge.auth.refusals import refusal_code


@pytest.fixture
async def remote(project: Project) -> AsyncIterator[Authenticator]:
    authenticator = create_authenticator(
        project.settings(auth_mode=AuthMode.REMOTE, supabase_key="publishable")
    )
    yield authenticator
    await authenticator.aclose()


def serve(project: Project, status: int, document: Any) -> None:
    project.server.status = status
    project.server.body = json.dumps(document).encode()


def user(user_id: str) -> dict[str, Any]:
    since = "2026-01-31T12:00:00Z"
    return {
        "id": user_id,
        "aud": "authenticated",
        "created_at": since,
        "app_metadata": {},
        "user_metadata": {},
    }


async def test_the_answer_must_be_about_the_user_of_the_token(
    remote: Authenticator, project: Project
) -> None:
    serve(project, 200, user(USER_ID))
    assert (await remote.authenticate(project.token())).user_id == USER_ID
    serve(project, 200, user("99999999-9f0e-4a66-8c39-0d7a4a4f6f11"))
    assert await refusal_code(remote, project.token()) is ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_token_that_the_server_refuses_is_refused(
    remote: Authenticator, project: Project, status: int
) -> None:
    serve(project, status, {"code": status, "error_code": "bad_jwt", "msg": "invalid JWT"})
    assert await refusal_code(remote, project.token()) is ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_server_in_trouble_decides_nothing(
    remote: Authenticator, project: Project, status: int
) -> None:
    serve(project, status, {"code": status, "msg": "try again"})
    assert await refusal_code(remote, project.token()) is ErrorCode.UNAVAILABLE


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, b"{}"), (403, b"<html>"), (302, b"")])
async def test_garbage_decides_nothing(
    remote: Authenticator, project: Project, status: int, body: bytes
) -> None:
    project.server.status, project.server.body = status, body
    assert await refusal_code(remote, project.token()) is ErrorCode.UNAVAILABLE


async def test_tokens_that_cannot_be_right_never_reach_the_server(
    remote: Authenticator, project: Project
) -> None:
    for token in ("", "nonsense", project.token(role="anon"), project.token(exp=1), project.token(sub="x")):
        await refusal_code(remote, token)
    assert project.server.hits == 0
