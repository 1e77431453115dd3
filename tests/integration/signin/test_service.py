"""The service without a client library: restarts, files, HTTP, profiles, tokens without a password."""

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from unicodedata import normalize

import httpx
import pytest

from infra.local.signin.accounts import User
from infra.local.signin.errors import SigninError
from infra.local.signin.profiles import profile_maker
from infra.local.signin.service import SigninService
from infra.local.signin.settings import SigninSettings
from infra.local.signin.tokens import issue
from infra.local.tether import tether
from infra.wire.errors import Rejection
from socket_edge.auth import Authenticator, create_authenticator
from tests.integration.signin.service import ROOT, RunningService, running_service

ISSUER = "http://127.0.0.1:1/auth/v1"
ALICE = {"email": "alice@example.com", "password": "correct horse"}


async def post_alice(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(verify=False) as http:
        answer = await http.post(url, json=ALICE)
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document


async def test_keys_and_users_survive_a_restart(tmp_path: Path) -> None:
    with running_service(tmp_path) as first:
        session = await post_alice(f"{first.auth_url}/signup")
    with running_service(tmp_path, "--port", first.url.rpartition(":")[2]) as second:
        authenticator = create_authenticator(second.edge_settings())
        identity = await authenticator.authenticate(session["access_token"])
        await authenticator.aclose()
        again = await post_alice(f"{second.auth_url}/token?grant_type=password")
    assert identity.user_id == session["user"]["id"] == again["user"]["id"]


async def test_the_issuer_can_differ_from_the_address(tmp_path: Path) -> None:
    with running_service(tmp_path, "--issuer", ISSUER) as service:
        session = await post_alice(f"{service.auth_url}/signup")
        authenticator = create_authenticator(service.edge_settings())
        with pytest.raises(Rejection, match="another issuer"):
            await authenticator.authenticate(session["access_token"])
        await authenticator.aclose()


def test_only_the_owner_can_read_keys_and_users(signin: RunningService) -> None:
    folder = signin.data_dir / "signin"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600


def test_published_keys_are_public(signin: RunningService) -> None:
    (key,) = httpx.get(f"{signin.auth_url}/.well-known/jwks.json", verify=False).json()["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
    assert "d" not in key


def test_a_browser_of_any_origin_may_call(signin: RunningService) -> None:
    origin = {"Origin": "http://localhost:5173"}
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,x-client-info",
    }
    preflight = httpx.options(f"{signin.auth_url}/signup", headers={**origin, **asked}, verify=False)
    assert preflight.status_code == 200
    assert "apikey" in preflight.headers["access-control-allow-headers"]
    refused = httpx.get(f"{signin.auth_url}/user", headers=origin, verify=False)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("path", "body", "status", "error_code"),
    [
        ("/signup", b"", 400, "bad_json"),
        ("/signup", b"[]", 400, "bad_json"),
        ("/signup", b"[" * 100_000, 400, "bad_json"),
        ("/signup", b"{}", 422, "anonymous_provider_disabled"),
        ("/signup", b'{"email": 7, "password": "correct horse"}', 400, "validation_failed"),
        ("/signup", b'{"email": "a@b.c", "password": 7}', 400, "validation_failed"),
        (
            "/signup",
            b'{"email": "a@b.c", "password": "correct horse", "data": {"username": 7}}',
            422,
            "validation_failed",
        ),
        ("/token", b"{}", 400, "validation_failed"),
        ("/token?grant_type=password", b"{}", 400, "invalid_credentials"),
        ("/token?grant_type=refresh_token", b"{}", 400, "validation_failed"),
        ("/token?grant_type=refresh_token", b'{"refresh_token": "x"}', 400, "refresh_token_not_found"),
        ("/logout", b"", 401, "no_authorization"),
        ("/user", b"", 405, "validation_failed"),
        ("/nothing", b"", 404, "validation_failed"),
    ],
)
def test_errors_have_the_shape_of_supabase(
    signin: RunningService, path: str, body: bytes, status: int, error_code: str
) -> None:
    answer = httpx.post(signin.auth_url + path, content=body, verify=False)
    assert answer.status_code == status
    assert answer.json() == {"code": status, "error_code": error_code, "msg": answer.json()["msg"]}


def test_the_service_is_healthy(signin: RunningService) -> None:
    assert httpx.get(f"{signin.auth_url}/health", verify=False).status_code == 200


def test_sign_up_creates_a_profile(tmp_path: Path) -> None:
    profiles: list[User] = []
    service = SigninService(tmp_path, ISSUER, profiles.append)
    session = service.sign_up("alice@example.com", "correct horse", {"username": "Alice"})
    assert [(user.id, user.username) for user in profiles] == [(session["user"]["id"], "Alice")]


def test_nobody_signs_up_while_profiles_cannot_be_created(tmp_path: Path) -> None:
    unreachable = profile_maker(SigninSettings(database_url="postgresql://127.0.0.1:1/none"))
    with pytest.raises(SigninError, match="Database error saving new user"):
        SigninService(tmp_path, ISSUER, unreachable).sign_up("alice@example.com", "correct horse", None)
    working = SigninService(tmp_path, ISSUER, profile_maker(SigninSettings()))
    assert working.sign_up("alice@example.com", "correct horse", None)


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BBGRAM_DATABASE_URL", raising=False)
    monkeypatch.delenv("BBGRAM_SUPABASE_URL", raising=False)


@pytest.mark.usefixtures("no_environment")
async def test_an_issued_token_is_accepted_like_any_other(signin: RunningService) -> None:
    issued = issue(signin.data_dir, signin.auth_url, "Bob", 60)
    authenticator: Authenticator = create_authenticator(signin.edge_settings())
    identity = await authenticator.authenticate(issued.token)
    await authenticator.aclose()
    assert (identity.user_id, identity.username) == (issued.user_id, "Bob")


@pytest.mark.usefixtures("no_environment")
def test_an_issued_token_has_a_session_and_an_address(signin: RunningService) -> None:
    issued = issue(signin.data_dir, signin.auth_url, "Bob", 60)
    answer = httpx.get(
        f"{signin.auth_url}/user", headers={"Authorization": f"Bearer {issued.token}"}, verify=False
    )
    assert answer.json()["id"] == issued.user_id
    assert answer.json()["email"] == "bob@bbgram.local"


@pytest.mark.usefixtures("no_environment")
def test_usernames_ignore_case(tmp_path: Path) -> None:
    assert issue(tmp_path, ISSUER, "Alice", 1).user_id == issue(tmp_path, ISSUER, " aLICE ", 1).user_id


@pytest.mark.usefixtures("no_environment")
def test_a_token_is_issued_for_the_user_who_signed_up(tmp_path: Path) -> None:
    session = SigninService(tmp_path, ISSUER, profile_maker(SigninSettings())).sign_up(**ALICE, data=None)
    assert issue(tmp_path, ISSUER, "alice", 1).user_id == session["user"]["id"]


def test_the_database_is_read_from_the_stack_file(tmp_path: Path, no_environment: None) -> None:
    (tmp_path / "stack.env").write_text("BBGRAM_DATABASE_URL=postgresql://127.0.0.1:1/none\n")
    with pytest.raises(SigninError, match="Database error"):
        issue(tmp_path, ISSUER, "alice", 1)


@pytest.mark.parametrize("ttl_s", [0, -1])
def test_a_token_lives_for_at_least_a_second(tmp_path: Path, ttl_s: int) -> None:
    with pytest.raises(ValueError, match="at least 1 second"):
        issue(tmp_path, ISSUER, "alice", ttl_s)


@pytest.mark.parametrize("username", ["", "  ", "x" * 65, "e\u0301" * 65, "a\u200db", "a\x00b", "a\nb"])
def test_an_invalid_name_is_refused(tmp_path: Path, username: str) -> None:
    with pytest.raises(ValueError, match="username"):
        issue(tmp_path, ISSUER, username, 60)


@pytest.mark.usefixtures("no_environment")
@pytest.mark.parametrize("name", ["ශ්\u200dරී", "علی\u200cرضا", "한" * 64, "ΐ" * 64, "é" * 64])
def test_every_spelling_of_a_name_is_the_same_user(tmp_path: Path, name: str) -> None:
    spellings = {name, normalize("NFD", name), name.replace("\u200c", "").replace("\u200d", "")}
    assert len({issue(tmp_path, ISSUER, spelling, 60).user_id for spelling in spellings}) == 1


@pytest.mark.usefixtures("no_environment")
def test_several_processes_share_one_data_folder(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from infra.local.signin.tokens import issue\n"
        "for n in range(15):\n"
        f"    print(n, issue(pathlib.Path(sys.argv[1]), '{ISSUER}', f'user{{n}}', 60).user_id)"
    )
    command = tether([sys.executable, "-c", script, str(tmp_path)])
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert len(set(outputs)) == 1
    assert len(outputs[0].splitlines()) == 15
