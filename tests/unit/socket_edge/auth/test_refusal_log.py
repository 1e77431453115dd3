"""What operators hear of refused sign-ins: a reason, what differed, and how many there were."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from infra.wire.errors import ErrorCode, Rejection
from infra.wire.events import error_event
from socket_edge.auth import create_authenticator
from socket_edge.auth.claims import MAX_TOKEN_CHARS
from socket_edge.auth.refusal_log import CONNECT, RefusalLog
from socket_edge.auth.rejections import RefusalReason, unauthorized, unavailable
from socket_edge.limits.origins import Origins
from tests.harness.key_server import Clock
from tests.harness.supabase_auth import SECRET, SupabaseAuth

CLAIMS = {
    "sub": "0b2a7a54-9f0e-4a66-8c39-0d7a4a4f6f11",
    "aud": "authenticated",
    "role": "authenticated",
    "exp": 4_000_000_000,
}


def lines(logs: list[Any]) -> list[dict[str, Any]]:
    return [line for line in logs if line["event"] in ("sign_in_refused", "sign_in_unavailable")]


@pytest.fixture
def refusals(clock: Clock) -> RefusalLog:
    return RefusalLog(clock)


def test_a_reason_is_logged_at_most_once_in_ten_seconds_with_the_number_of_refusals(
    refusals: RefusalLog, clock: Clock
) -> None:
    with capture_logs() as logs:
        for _ in range(100):
            refusals.record(unauthorized(RefusalReason.ISSUER, expected="ours", got="theirs"), CONNECT)
        clock.now += 9.9
        refusals.record(unauthorized(RefusalReason.ISSUER), CONNECT)
        clock.now += 0.1
        refusals.record(unauthorized(RefusalReason.ISSUER, expected="ours", got="another"), "refresh_token")
    first, second = lines(logs)
    assert first == {
        "event": "sign_in_refused",
        "log_level": "info",
        "reason": "issuer",
        "during": "connect",
        "expected": "ours",
        "got": "theirs",
        "count": 1,
    }
    assert (second["count"], second["during"], second["got"]) == (101, "refresh_token", "another")
    assert refusals.counts == {RefusalReason.ISSUER: 102}


def test_every_reason_has_a_line_of_its_own(refusals: RefusalLog) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            for reason in RefusalReason:
                refusals.record(unauthorized(reason), CONNECT)
    assert [line["reason"] for line in lines(logs)] == [*RefusalReason]
    assert refusals.counts == dict.fromkeys(RefusalReason, 3)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ErrorCode.UNAUTHORIZED, RefusalReason.MALFORMED),
        (ErrorCode.INVALID_PAYLOAD, RefusalReason.MALFORMED),
        (ErrorCode.TOKEN_EXPIRED, RefusalReason.EXPIRED),
        (ErrorCode.UNAVAILABLE, RefusalReason.UNAVAILABLE),
        *(
            (code, RefusalReason.OTHER)
            for code in (ErrorCode.RATE_LIMITED, ErrorCode.INTERNAL, ErrorCode.BUSY)
        ),
    ],
)
def test_a_rejection_that_gives_no_reason_gets_that_of_its_code(
    refusals: RefusalLog, code: ErrorCode, reason: RefusalReason
) -> None:
    refusals.record(Rejection(code), CONNECT)
    assert refusals.counts == {reason: 1}


def test_a_refused_origin_is_named(refusals: RefusalLog) -> None:
    with (
        capture_logs() as logs,
        pytest.raises(Rejection) as caught,
        refusals.recorded(CONNECT),
    ):
        Origins(("https://app.example",)).check("https://evil.example", "chat.example")
    assert caught.value.code is ErrorCode.FORBIDDEN_ORIGIN
    (line,) = lines(logs)
    assert (line["reason"], line["got"]) == ("origin", "https://evil.example")
    assert line["expected"] == "https://app.example or a page of chat.example"


def test_what_differed_is_cut(refusals: RefusalLog) -> None:
    with capture_logs() as logs:
        refusals.record(unauthorized(RefusalReason.ISSUER, expected="y" * 10_000, got="x" * 10_000), CONNECT)
    (line,) = lines(logs)
    assert (len(line["expected"]), len(line["got"])) == (200, 200)


@pytest.mark.parametrize(
    "value", ["two words", "a\nline", "\x1b[2J", "\u202e", "\ud800", "x" * 16_000, {"a": "b c"}, [["a b"]], 7]
)
@pytest.mark.parametrize("claim", ["iss", "aud", "role", "sub", "exp", "aal"])
async def test_no_claim_speaks_in_the_log(
    supabase: SupabaseAuth, refusals: RefusalLog, claim: str, value: Any
) -> None:
    """In remote mode the claims of a token that nobody has signed are read first."""
    claims = json.dumps({**CLAIMS, "iss": supabase.issuer, claim: value}).encode()
    token = jwt.PyJWS().encode(claims, SECRET, "HS256")
    settings = {"auth_mode": "remote", "require_aal": "aal2"}
    line = await refused(refusals, supabase, token, **settings)
    assert line["got"].isprintable()
    assert len(line["got"]) <= 200
    assert not any(words in line["got"] for words in ("two words", "line", "a b", "b c"))


def test_the_reason_never_reaches_the_client() -> None:
    for rejection in (
        unauthorized(RefusalReason.ISSUER, expected="secret-expected", got="secret-got"),
        unavailable(RefusalReason.API_KEY, expected="secret-expected", got="secret-got", retry_after_ms=5),
    ):
        told = str(error_event(rejection.failure())) + str(rejection)
        assert "secret" not in told
        assert rejection.reason not in told


WRONG: list[tuple[RefusalReason, dict[str, Any], dict[str, Any], str]] = [
    (RefusalReason.ISSUER, {"iss": "https://elsewhere/auth/v1"}, {}, "https://elsewhere/auth/v1"),
    (RefusalReason.MISSING_CLAIM, {"iss": None}, {}, "no iss"),
    (RefusalReason.MISSING_CLAIM, {"exp": None, "sub": None}, {}, "no exp, sub"),
    (RefusalReason.AUDIENCE, {"aud": "mobile"}, {}, "mobile"),
    (RefusalReason.AUDIENCE, {"aud": ["a", "b"]}, {}, "a, b"),
    (RefusalReason.SUBJECT, {"sub": "alice"}, {}, "alice"),
    (RefusalReason.ROLE, {"role": "service_role"}, {}, "service_role"),
    (RefusalReason.EXPIRED, {"exp": 1_700_000_000}, {}, "2023-11-14T22:13:20+00:00"),
    (RefusalReason.NOT_YET_VALID, {"nbf": 4_000_000_000}, {}, "2096-10-02T07:06:40+00:00"),
    (RefusalReason.MALFORMED, {"exp": "soon"}, {}, "soon"),
    (RefusalReason.ANONYMOUS, {"is_anonymous": True}, {"allow_anonymous": False}, "True"),
    (RefusalReason.ONE_FACTOR, {}, {"require_aal": "aal2"}, "aal1"),
    (RefusalReason.TOO_LONG, {"user_metadata": {"x": "y" * MAX_TOKEN_CHARS}}, {}, " characters"),
]


@pytest.mark.parametrize(
    ("reason", "claims", "settings", "got"), WRONG, ids=[f"{case[0]} {str(case[1])[:40]}" for case in WRONG]
)
async def test_a_wrong_claim_is_named_with_what_it_says(
    supabase: SupabaseAuth,
    refusals: RefusalLog,
    reason: RefusalReason,
    claims: dict[str, Any],
    settings: dict[str, Any],
    got: str,
) -> None:
    token = supabase.sign_in(supabase.sign_up(), **claims)
    line = await refused(refusals, supabase, token, **settings)
    assert (line["reason"], line["got"][-len(got) :]) == (reason, got)
    assert line["expected"]


async def refused(
    refusals: RefusalLog, supabase: SupabaseAuth, token: str, **settings: Any
) -> dict[str, Any]:
    """Have a token refused; return the log line, which must not hold the token or its parts."""
    authenticator = create_authenticator(supabase.settings(**settings))
    with capture_logs() as logs, pytest.raises(Rejection), refusals.recorded(CONNECT):
        await authenticator.authenticate(token)
    await authenticator.aclose()
    (line,) = lines(logs)
    told = json.dumps(line)
    assert not [one for one in (token, *token.split(".")) if len(one) > 10 and one in told]
    return line


async def test_the_wrong_kind_of_signature_is_named(supabase: SupabaseAuth, refusals: RefusalLog) -> None:
    supabase.add_secret()
    supabase.rotate("legacy")
    token = supabase.sign_in(supabase.sign_up())
    line = await refused(refusals, supabase, token)
    assert (line["reason"], line["expected"], line["got"]) == ("algorithm", "ES256 or RS256", "HS256")
    line = await refused(refusals, supabase, token, supabase_jwt_secret=SECRET + "!")
    assert (line["reason"], line["got"]) == ("signature", "HS256, kid legacy")


async def test_an_unknown_key_is_named_beside_the_known_ones(
    supabase: SupabaseAuth, refusals: RefusalLog
) -> None:
    supabase.add_key("next")
    stranger = ec.generate_private_key(ec.SECP256R1())
    token = jwt.encode({"sub": "x"}, stranger, "ES256", headers={"kid": "stranger"})
    line = await refused(refusals, supabase, token)
    assert (line["reason"], line["expected"], line["got"]) == ("unknown_key", "current or next", "stranger")


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "x" * 20_000])
async def test_what_is_no_token_is_not_quoted(
    supabase: SupabaseAuth, refusals: RefusalLog, token: str
) -> None:
    line = await refused(refusals, supabase, token)
    assert line["reason"] in ("malformed", "too_long")
    assert token[:5] not in (line["got"] or "") or not token


async def test_keys_that_cannot_be_fetched_are_named(supabase: SupabaseAuth, refusals: RefusalLog) -> None:
    token = supabase.sign_in(supabase.sign_up())
    supabase.is_down = True
    line = await refused(refusals, supabase, token)
    assert (line["reason"], line["got"]) == (
        "keys_unavailable",
        f"{supabase.url}/auth/v1/.well-known/jwks.json",
    )


def test_an_operator_is_warned_when_tokens_cannot_be_checked(refusals: RefusalLog) -> None:
    with capture_logs() as logs:
        refusals.record(unavailable(got="ConnectError"), CONNECT)
    assert [(line["event"], line["log_level"], line["got"]) for line in logs] == [
        ("sign_in_unavailable", "warning", "ConnectError")
    ]


def test_what_waits_for_its_turn_is_logged_in_the_end(refusals: RefusalLog, clock: Clock) -> None:
    with capture_logs() as logs:
        for number in range(1_000):
            refusals.record(unauthorized(RefusalReason.ISSUER, expected="ours", got=f"{number}"), CONNECT)
        refusals.flush()
        clock.now += 10
        for _ in range(2):
            refusals.flush()
    assert [(line["count"], line["got"]) for line in lines(logs)] == [(1, "0"), (999, "999")]
