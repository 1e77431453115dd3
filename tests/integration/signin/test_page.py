"""The chat page, ready-made users and short-lived tokens, which the local stack serves beside sign-in."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest

from infra.local.signin.service import READY_MADE, SHORT_TTL_S
from tests.integration.signin.service import RunningService, running_service

CHAT = "http://localhost:3000"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text("<!doctype html><title>the page</title>")
    options = ("--chat-url", CHAT, "--page", str(folder))
    with running_service(tmp_path_factory.mktemp("data"), *options) as service:
        yield service


def claims(token: str) -> dict[str, object]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def test_the_page_connects_to_nothing_but_the_chat_and_is_in_no_frame(page: RunningService) -> None:
    answer = httpx.get(page.url, verify=False)
    assert "the page" in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy == f"connect-src 'self' {CHAT} ws://localhost:3000; frame-ancestors 'none'"


def test_a_chat_on_an_ipv6_address_is_reached_although_no_policy_can_name_it(tmp_path: Path) -> None:
    (tmp_path / "index.html").touch()
    options = ("--chat-url", "http://[::1]:3000", "--page", str(tmp_path))
    with running_service(tmp_path / "data", *options) as service:
        policy = httpx.get(service.url, verify=False).headers["content-security-policy"]
    assert policy == "connect-src 'self' http: ws:; frame-ancestors 'none'"


def test_the_page_hears_where_the_chat_is_and_who_is_ready_made(page: RunningService) -> None:
    assert httpx.get(f"{page.url}/dev/config.json", verify=False).json() == {
        "chatUrl": CHAT,
        "vapidKey": None,
        "readyMade": list(READY_MADE),
    }


def test_a_ready_made_user_signs_in_without_a_password_and_is_always_the_same(page: RunningService) -> None:
    first, again = (httpx.post(f"{page.url}/dev/sign-in/alice", verify=False).json() for _ in range(2))
    assert first["user"]["user_metadata"]["username"] == "alice"
    assert first["user"]["id"] == again["user"]["id"]
    query = f"{page.auth_url}/token?grant_type=refresh_token"
    refreshed = httpx.post(query, json={"refresh_token": first["refresh_token"]}, verify=False)
    assert refreshed.json()["user"]["id"] == first["user"]["id"]


def test_nobody_else_signs_in_without_a_password(page: RunningService) -> None:
    account = {"email": "carol@example.com", "password": "correct horse"}
    assert httpx.post(f"{page.auth_url}/signup", json=account, verify=False).is_success
    assert httpx.post(f"{page.url}/dev/sign-in/carol", verify=False).status_code == 404


def test_a_short_lived_token_belongs_to_the_same_session(page: RunningService) -> None:
    token = httpx.post(f"{page.url}/dev/sign-in/bob", verify=False).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.post(f"{page.url}/dev/short-lived-token", headers=headers, verify=False).json()
    short, normal = claims(answer["access_token"]), claims(token)
    assert int(str(short["exp"])) - int(str(short["iat"])) == SHORT_TTL_S
    assert (short["sub"], short["session_id"]) == (normal["sub"], normal["session_id"])
    assert httpx.post(f"{page.url}/dev/short-lived-token", verify=False).status_code == 401


@pytest.mark.parametrize("path", ["sign-in/alice", "short-lived-token"])
def test_other_sites_get_no_tokens(page: RunningService, path: str) -> None:
    foreign = httpx.post(f"{page.url}/dev/{path}", headers={"Origin": "https://evil.example"}, verify=False)
    assert "access-control-allow-origin" not in foreign.headers
    rebound = httpx.post(f"{page.url}/dev/{path}", headers={"Host": "evil.example"}, verify=False)
    assert rebound.status_code == 400


def test_there_is_no_page_before_it_is_built(tmp_path: Path) -> None:
    with running_service(tmp_path, "--chat-url", CHAT) as service:
        assert httpx.get(service.url, verify=False).status_code == 404
        assert httpx.get(f"{service.url}/dev/config.json", verify=False).is_success
