"""The doctor tells whether an edge would accept a token, which check it fails, and what to set."""

import base64
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from infra.cli.doctor.finding import Finding
from infra.cli.doctor.signin import _ADVICE, signin_finding
from socket_edge.auth.claims import MAX_TOKEN_CHARS
from socket_edge.auth.rejections import RefusalReason
from tests.harness.stack import bbgram
from tests.harness.supabase_auth import SECRET, KeyState, SupabaseAuth

REMOTE = {"auth_mode": "remote"}
WITH_SECRET = {"supabase_jwt_secret": SECRET}
OTHER_SECRET = {"supabase_jwt_secret": "another secret that is long enough"}


@pytest.fixture
def supabase() -> Iterator[SupabaseAuth]:
    supabase = SupabaseAuth()
    yield supabase
    supabase.close()


def legacy(supabase: SupabaseAuth) -> SupabaseAuth:
    """Make it a project that has its legacy secret only."""
    supabase.keys.clear()
    supabase.add_secret()
    return supabase


def find(supabase: SupabaseAuth, token: str | None = None, **settings: Any) -> Finding:
    return signin_finding(supabase.settings(**settings), token)


def test_published_keys_are_counted(supabase: SupabaseAuth) -> None:
    supabase.add_rsa_key("next")
    found = find(supabase)
    assert found == Finding(
        "sign-in", f"2 keys are published at {supabase.url}/auth/v1/.well-known/jwks.json"
    )


def test_a_project_without_a_usable_key_needs_the_secret(supabase: SupabaseAuth) -> None:
    assert find(legacy(supabase)).advice == (
        "create a signing key in the project, or set BBGRAM_SUPABASE_JWT_SECRET"
    )


def test_a_secret_is_not_said_to_be_right(supabase: SupabaseAuth) -> None:
    """The doctor cannot know, and says so; the keys of the project are counted beside it."""
    for settings in (WITH_SECRET, OTHER_SECRET):
        found = find(supabase, **settings)
        assert found.advice is None
        assert "only a real token shows whether it is correct: `bbgram doctor --token -`" in found.state
        assert "1 key is published at " in found.state
    supabase.close()
    found = find(supabase, **WITH_SECRET)
    assert (found.advice, "; no keys at " in found.state) == (None, True)


@pytest.mark.parametrize("settings", [{}, REMOTE])
def test_a_service_that_is_down_is_found(supabase: SupabaseAuth, settings: dict[str, str]) -> None:
    supabase.is_down = True
    assert find(supabase, **settings).advice == "start the sign-in service, or correct BBGRAM_SUPABASE_URL"
    supabase.close()
    assert find(supabase, **settings).advice == "start the sign-in service, or correct BBGRAM_SUPABASE_URL"


@pytest.mark.parametrize("issuer", [None, "https://auth.example.com/auth/v1"])
def test_a_remote_project_that_works_is_well_whatever_its_issuer(
    supabase: SupabaseAuth, issuer: str | None
) -> None:
    supabase.issuer = issuer
    found = find(supabase, jwt_issuer=issuer or "missing", **REMOTE)
    assert found == Finding("sign-in", f"the Auth server answers at {supabase.url}/auth/v1")


@pytest.mark.parametrize("settings", [{}, WITH_SECRET, REMOTE], ids=str)
def test_an_issuer_that_nobody_has_set_is_found_without_a_token(
    supabase: SupabaseAuth, settings: dict[str, str]
) -> None:
    """Where it is set, only a token can tell: a custom hook may write another `iss` than the project says."""
    supabase.issuer = "https://auth.example.com/auth/v1"
    assert find(supabase, **settings) == Finding(
        "sign-in",
        f"the project's tokens have the `iss` {supabase.issuer}, but {supabase.url}/auth/v1 is expected",
        f"set BBGRAM_JWT_ISSUER={supabase.issuer}",
    )
    for issuer in (supabase.issuer, "missing", "https://hook.example.com"):
        assert find(supabase, jwt_issuer=issuer, **settings).advice is None


@pytest.mark.parametrize("key", ["sb_publishable_of_another_project", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"])
def test_a_key_that_the_gateway_refuses_is_found(supabase: SupabaseAuth, key: str) -> None:
    found = find(supabase, supabase_key=key, **REMOTE)
    assert "401" in found.state
    assert "Invalid API key" in found.state
    assert (found.advice or "").startswith("set BBGRAM_SUPABASE_KEY to ")
    assert key not in found.line()


def test_an_address_at_which_something_else_answers_is_found(supabase: SupabaseAuth) -> None:
    found = find(supabase, supabase_url=f"{supabase.url}/rest", **REMOTE)
    assert "404" in found.state
    assert "correct BBGRAM_SUPABASE_URL" in (found.advice or "")


@pytest.mark.parametrize("settings", [{}, WITH_SECRET, OTHER_SECRET, REMOTE], ids=str)
@pytest.mark.parametrize("issuer", ["{url}/auth/v1", None, "https://chat.example.com/auth/v1/"])
def test_a_token_that_an_edge_accepts_is_ok(
    supabase: SupabaseAuth, settings: dict[str, str], issuer: str | None
) -> None:
    supabase.issuer = issuer.format(url=supabase.url) if issuer else None
    user = supabase.sign_up()
    token = supabase.sign_in(user, exp=1_900_000_000)
    found = find(supabase, token, jwt_issuer=supabase.issuer or "missing", **settings)
    assert found == Finding(
        "sign-in", f"the token is that of user {user.id}, valid until 2030-03-17T17:46:40Z"
    )


def test_a_token_of_the_secret_shows_whether_the_secret_is_right(supabase: SupabaseAuth) -> None:
    token = legacy(supabase).sign_in(supabase.sign_up())
    assert find(supabase, token, **WITH_SECRET).advice is None
    for settings, check in (({}, "algorithm"), (OTHER_SECRET, "signature")):
        found = find(supabase, token, **settings)
        assert f"`{check}`" in found.state
        assert "BBGRAM_SUPABASE_JWT_SECRET" in (found.advice or "")


FAILS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("issuer", {"iss": "https://elsewhere/auth/v1"}, {}, "BBGRAM_JWT_ISSUER"),
    ("issuer", {}, {"jwt_issuer": "https://auth.example.com/auth/v1"}, "BBGRAM_JWT_ISSUER"),
    ("missing_claim", {"iss": None}, {}, "add `missing` to BBGRAM_JWT_ISSUER"),
    ("audience", {"aud": "mobile"}, {}, "BBGRAM_JWT_AUDIENCE"),
    ("role", {"role": "service_role"}, {}, "not an API key"),
    ("subject", {"sub": "alice"}, {}, "user"),
    ("expired", {"exp": int(time.time()) - 5}, {}, "fresh"),
    ("not_yet_valid", {"nbf": int(time.time()) + 600}, {}, "BBGRAM_CLOCK_SKEW_S"),
    ("anonymous", {"is_anonymous": True}, {"allow_anonymous": False}, "BBGRAM_ALLOW_ANONYMOUS"),
    ("one_factor", {}, {"require_aal": "aal2"}, "BBGRAM_REQUIRE_AAL"),
    ("too_long", {"user_metadata": {"x": "y" * MAX_TOKEN_CHARS}}, {}, "metadata"),
]


@pytest.mark.parametrize("mode", [{}, REMOTE], ids=str)
@pytest.mark.parametrize(
    ("check", "claims", "settings", "advice"), FAILS, ids=[f"{case[0]} {case[2]}" for case in FAILS]
)
def test_a_token_that_fails_is_wrong_with_the_check_what_differs_and_what_to_set(
    supabase: SupabaseAuth,
    mode: dict[str, str],
    check: str,
    claims: dict[str, Any],
    settings: dict[str, Any],
    advice: str,
) -> None:
    found = find(supabase, supabase.sign_in(supabase.sign_up(), **claims), **settings, **mode)
    assert f"the token fails the check `{check}`: expected " in found.state
    assert advice in (found.advice or "")


def test_a_key_of_another_project_is_found(supabase: SupabaseAuth) -> None:
    token = supabase.sign_in(supabase.sign_up())
    other = SupabaseAuth(other=KeyState.IN_USE)
    found = signin_finding(other.settings(jwt_issuer=supabase.issuer), token)
    other.close()
    assert found.state == "the token fails the check `unknown_key`: expected other, got current"
    assert "BBGRAM_JWKS_URL" in (found.advice or "")


def test_a_user_whom_the_auth_server_refuses_is_found(supabase: SupabaseAuth) -> None:
    user = supabase.sign_up()
    token = supabase.sign_in(user)
    supabase.ban(user)
    found = find(supabase, token, **REMOTE)
    assert "`refused_by_auth_server`" in found.state
    assert "403 user_banned" in found.state
    assert find(supabase, token, supabase_key="wrong", **REMOTE).advice == _ADVICE["api_key"]


def test_there_is_advice_for_each_check_that_a_token_can_fail() -> None:
    assert {*_ADVICE} == {*RefusalReason} - {
        RefusalReason.OTHER_USER,
        RefusalReason.ORIGIN,
        RefusalReason.OTHER,
    }


def doctor(supabase: SupabaseAuth, stdin: str, *words: str) -> tuple[int, list[str], str]:
    """Run the command with the settings of an edge; return its lines about the sign-in."""
    env = {"BBGRAM_REDIS_URL": "redis://127.0.0.1:1", "BBGRAM_SUPABASE_URL": supabase.url}
    done = bbgram("doctor", *words, env=env, stdin=stdin)
    assert all(line.startswith(("ok ", "WRONG ")) for line in done.stdout.splitlines())
    lines = [line for line in done.stdout.splitlines() if " sign-in " in line]
    return done.returncode, lines, done.stdout + done.stderr


@pytest.mark.parametrize("around", ["{}", "{}\n", "  {}\r\n\n"])
def test_the_command_reads_a_token_and_never_prints_it(supabase: SupabaseAuth, around: str) -> None:
    user = supabase.sign_up()
    token = supabase.sign_in(user)
    _, lines, output = doctor(supabase, around.format(token), "--token", "-")
    (line,) = lines
    assert re.fullmatch(rf"ok    sign-in   the token is that of user {user.id}, valid until \S+Z", line)
    assert not [part for part in token.split(".") if part in output]


@pytest.mark.parametrize(
    "token", ["", "nonsense", "ünïcode", "x" * 20_000, f"{base64.b64encode(b'{}').decode()}.e30.AAAA"]
)
def test_what_is_no_token_is_wrong_and_not_printed(supabase: SupabaseAuth, token: str) -> None:
    code, (line,), output = doctor(supabase, token, "--token", "-")
    assert (code, line[:5]) == (1, "WRONG")
    assert "Traceback" not in output
    assert not token or token[:8] not in output


def test_a_token_on_the_command_line_is_refused_and_not_repeated(supabase: SupabaseAuth) -> None:
    """There everybody on the machine could read it."""
    token = supabase.sign_in(supabase.sign_up())
    code, lines, output = doctor(supabase, "", "--token", token)
    assert (code, lines) == (2, [])
    assert "standard input" in output
    assert not [part for part in token.split(".") if part in output]
