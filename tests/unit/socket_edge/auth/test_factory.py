import subprocess
import sys

import jwt
import pytest

from infra.settings.base import SettingsError
from infra.settings.edge import AuthMode
from infra.wire.errors import ErrorCode
from socket_edge.auth import create_authenticator
from tests.harness.key_server import USER_ID, Project
from tests.unit.socket_edge.auth.refusals import refusal_code

SECRET = "a legacy secret of more than 32 bytes"


async def test_a_legacy_project_accepts_tokens_signed_with_its_secret(project: Project) -> None:
    authenticator = create_authenticator(project.settings(supabase_jwt_secret=SECRET))
    for headers in ({}, {"kid": "whatever"}):
        token = jwt.encode(project.claims(), SECRET, "HS256", headers=headers)
        assert (await authenticator.authenticate(token)).user_id == USER_ID
    await authenticator.aclose()


async def test_a_secret_verifies_nothing_but_hs256(project: Project) -> None:
    authenticator = create_authenticator(project.settings(supabase_jwt_secret=SECRET))
    wrong = jwt.encode(project.claims(), SECRET + "!", "HS256")
    longer = jwt.encode(project.claims(), SECRET * 2, "HS512")
    for token in (wrong, longer):
        assert await refusal_code(authenticator, token) is ErrorCode.UNAUTHORIZED
    expired = jwt.encode(project.claims(exp=1), SECRET, "HS256")
    assert await refusal_code(authenticator, expired) is ErrorCode.TOKEN_EXPIRED
    assert project.server.hits == 0
    await authenticator.aclose()


async def test_a_current_project_refuses_the_legacy_secret(project: Project) -> None:
    authenticator = create_authenticator(project.settings())
    token = jwt.encode(project.claims(), SECRET, "HS256", headers={"kid": "first"})
    assert await refusal_code(authenticator, token) is ErrorCode.UNAUTHORIZED
    assert project.server.hits == 0
    await authenticator.aclose()


def test_a_short_secret_stops_the_start(project: Project) -> None:
    with pytest.raises(SettingsError, match="BBGRAM_SUPABASE_JWT_SECRET"):
        project.settings(supabase_jwt_secret="short")


def test_remote_mode_without_a_key_stops_the_start(project: Project) -> None:
    with pytest.raises(SettingsError, match="BBGRAM_SUPABASE_KEY"):
        project.settings(auth_mode=AuthMode.REMOTE)


def test_supabase_is_imported_in_remote_mode_only() -> None:
    check = "import sys, socket_edge.auth; sys.exit('supabase' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
