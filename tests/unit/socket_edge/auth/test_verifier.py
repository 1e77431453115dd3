import base64
import hmac
import json
import time
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from infra.wire.errors import ErrorCode
from socket_edge.auth import Authenticator, Identity, claims, create_authenticator
from socket_edge.auth.claims import MAX_TOKEN_CHARS
from tests.harness.key_server import USER_ID, Project, public_jwk
from tests.unit.socket_edge.auth.refusals import refusal, refusal_code


def encode_part(part: object) -> str:
    text = part if isinstance(part, str) else json.dumps(part)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


async def test_a_good_es256_token_tells_who_the_user_is(
    authenticator: Authenticator, project: Project
) -> None:
    now = int(time.time())
    identity = await authenticator.authenticate(project.token(exp=now + 60, iat=now - 5))
    assert identity == Identity(user_id=USER_ID, expires_at=now + 60, username="alice", issued_at=now - 5)


@pytest.mark.parametrize("issued_at", ["yesterday", [], {}, True, -1, 1e300, 0, None])
async def test_a_token_that_does_not_say_when_it_was_issued_is_accepted(
    authenticator: Authenticator, project: Project, issued_at: object
) -> None:
    assert (await authenticator.authenticate(project.token(iat=issued_at))).issued_at is None


async def test_a_good_rs256_token_is_accepted(authenticator: Authenticator, project: Project) -> None:
    project.add_key("rsa", rsa.generate_private_key(65537, 2048))
    assert (await authenticator.authenticate(project.token("rsa"))).user_id == USER_ID


async def test_the_user_id_is_lower_case_whatever_the_token_says(
    authenticator: Authenticator, project: Project
) -> None:
    assert (await authenticator.authenticate(project.token(sub=USER_ID.upper()))).user_id == USER_ID


@pytest.mark.parametrize("metadata", [None, {}, "alice", {"username": 7}, {"username": None}, [1]])
async def test_a_token_without_a_text_as_username_has_none(
    authenticator: Authenticator, project: Project, metadata: object
) -> None:
    assert (await authenticator.authenticate(project.token(user_metadata=metadata))).username is None


async def test_a_token_of_a_clock_that_is_ahead_is_accepted(
    authenticator: Authenticator, project: Project
) -> None:
    assert await authenticator.authenticate(project.token(iat=int(time.time()) + 30))


@pytest.mark.parametrize(
    ("skew_s", "ahead_s", "is_accepted"),
    [(None, 8, True), (None, 12, False), (60, 58, True), (60, 62, False), (0, -1, True), (0, 2, False)],
)
async def test_nbf_may_be_ahead_by_the_clock_skew(
    project: Project, skew_s: float | None, ahead_s: int, is_accepted: bool
) -> None:
    authenticator = create_authenticator(
        project.settings(**({} if skew_s is None else {"clock_skew_s": skew_s}))
    )
    token = project.token(nbf=int(time.time()) + ahead_s)
    if is_accepted:
        assert await authenticator.authenticate(token)
    else:
        assert (await refusal(authenticator, token)).message == "The access token is not valid yet."
    await authenticator.aclose()


async def test_the_clock_skew_lengthens_no_life(project: Project) -> None:
    authenticator = create_authenticator(project.settings(clock_skew_s=300))
    expired = project.token(exp=int(time.time()) - 1)
    assert await refusal_code(authenticator, expired) is ErrorCode.TOKEN_EXPIRED
    await authenticator.aclose()


@pytest.mark.parametrize("token", ["", None, 7, {"token": "x"}])
async def test_a_missing_token_is_refused_without_asking_for_keys(
    authenticator: Authenticator, project: Project, token: Any
) -> None:
    assert (await refusal(authenticator, token)).message == "An access token is required."
    assert project.server.hits == 0


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "a.b.c",
        "..",
        "\ud800.\ud800.\ud800",
        "ünï.cö.de",
        f"{encode_part('[' * 9000)}.e30.AAAA",
        f"{encode_part([])}.e30.AAAA",
        f"{encode_part({})}.e30.AAAA",
        f"{encode_part({'alg': ['ES256'], 'kid': 'first'})}.e30.AAAA",
        f"{encode_part({'alg': 'ES256', 'kid': 7})}.e30.AAAA",
        f"{encode_part({'alg': 'ES256', 'kid': 'first', 'crit': ['x'], 'x': 1})}.e30.AAAA",
    ],
)
async def test_a_malformed_token_is_refused_without_asking_for_keys(
    authenticator: Authenticator, project: Project, token: str
) -> None:
    assert await refusal_code(authenticator, token) is ErrorCode.UNAUTHORIZED
    assert project.server.hits == 0


@pytest.mark.parametrize("payload", ["[]", "7", "{", "[" * 9000])
async def test_a_signed_token_that_holds_no_claims_is_refused(
    authenticator: Authenticator, project: Project, payload: str
) -> None:
    token = jwt.PyJWS().encode(payload.encode(), project.keys["first"], "ES256", headers={"kid": "first"})
    assert await refusal_code(authenticator, token) is ErrorCode.UNAUTHORIZED


async def test_an_oversized_token_is_refused_before_it_is_parsed(
    authenticator: Authenticator, project: Project
) -> None:
    good = project.token(user_metadata={"username": "x" * MAX_TOKEN_CHARS})
    error = await refusal(authenticator, good)
    assert (error.code, error.message) == (ErrorCode.UNAUTHORIZED, "The access token is too long.")
    assert project.server.hits == 0


async def test_an_expired_token_has_a_code_of_its_own(authenticator: Authenticator, project: Project) -> None:
    error = await refusal(authenticator, project.token(exp=int(time.time()) - 1))
    assert error.code is ErrorCode.TOKEN_EXPIRED
    assert error.code.retryable


async def test_a_token_expires_at_its_very_second(authenticator: Authenticator, project: Project) -> None:
    assert await refusal_code(authenticator, project.token(exp=int(time.time()))) is ErrorCode.TOKEN_EXPIRED


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "anon"},
        {"aud": ["anon", "other"]},
        {"aud": None},
        {"iss": "https://elsewhere.supabase.co/auth/v1"},
        {"iss": None},
        {"role": "anon"},
        {"role": "service_role"},
        {"role": ["authenticated"]},
        {"role": None},
        {"sub": "alice"},
        {"sub": 7},
        {"sub": None},
        {"sub": f"{{{USER_ID}}}"},
        {"sub": f"urn:uuid:{USER_ID}"},
        {"sub": USER_ID.replace("-", "")},
        {"exp": None},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"exp": 10**15},
        {"nbf": int(time.time()) + 3000},
    ],
    ids=lambda changes: "nbf" if "nbf" in changes else str(changes),
)
async def test_a_token_with_a_wrong_claim_is_refused(
    authenticator: Authenticator, project: Project, changes: dict[str, Any]
) -> None:
    error = await refusal(authenticator, project.token(**changes))
    assert error.code is ErrorCode.UNAUTHORIZED
    assert not error.code.retryable


async def test_a_token_signed_with_another_key_is_refused(
    authenticator: Authenticator, project: Project
) -> None:
    forged = jwt.encode(
        project.claims(), ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "first"}
    )
    error = await refusal(authenticator, forged)
    assert (error.code, error.message) == (
        ErrorCode.UNAUTHORIZED,
        "The signature of the access token is not valid.",
    )


async def test_a_token_whose_claims_were_changed_is_refused(
    authenticator: Authenticator, project: Project
) -> None:
    header, _, signature = project.token().split(".")
    changed = encode_part(project.claims(sub="99999999-9f0e-4a66-8c39-0d7a4a4f6f11"))
    assert await refusal_code(authenticator, f"{header}.{changed}.{signature}") is ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize("name", ["none", "None", "NONE", ""])
async def test_an_unsigned_token_is_refused(
    authenticator: Authenticator, project: Project, name: str
) -> None:
    header = encode_part({"alg": name, "typ": "JWT", "kid": "first"})
    for signature in ("", project.token().rsplit(".", 1)[1]):
        token = f"{header}.{encode_part(project.claims())}.{signature}"
        assert await refusal_code(authenticator, token) is ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize(
    "private", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)]
)
async def test_the_public_key_is_not_a_shared_secret(
    authenticator: Authenticator, project: Project, private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> None:
    project.add_key("confused", private)
    await authenticator.authenticate(project.token("confused"))
    public = private.public_key()
    secrets = [
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        json.dumps(public_jwk("confused", private)).encode(),
    ]
    for secret in secrets:
        # PyJWT would not sign with a public key, an attacker would.
        head = encode_part({"alg": "HS256", "typ": "JWT", "kid": "confused"})
        signing_input = f"{head}.{encode_part(project.claims())}".encode()
        signature = hmac.digest(secret, signing_input, "sha256")
        token = f"{signing_input.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        assert await refusal_code(authenticator, token) is ErrorCode.UNAUTHORIZED


async def test_a_key_verifies_no_other_algorithm_than_its_own(
    authenticator: Authenticator, project: Project
) -> None:
    """Both algorithms are allowed, but the token names that of the other key."""
    project.add_key("rsa", rsa.generate_private_key(65537, 2048))
    await authenticator.authenticate(project.token("rsa"))
    assert await refusal_code(authenticator, project.token(header={"kid": "rsa"})) is ErrorCode.UNAUTHORIZED
    assert (
        await refusal_code(authenticator, project.token("rsa", header={"kid": "first"}))
        is ErrorCode.UNAUTHORIZED
    )


async def test_an_algorithm_of_the_same_key_type_that_is_not_allowed_is_refused(
    authenticator: Authenticator, project: Project
) -> None:
    project.add_key("rsa", rsa.generate_private_key(65537, 2048))
    for algorithm in ("RS384", "RS512", "PS256"):
        token = jwt.encode(project.claims(), project.keys["rsa"], algorithm, headers={"kid": "rsa"})
        assert await refusal_code(authenticator, token) is ErrorCode.UNAUTHORIZED


async def test_a_published_shared_secret_is_not_used(authenticator: Authenticator, project: Project) -> None:
    secret = b"a secret of at least 32 bytes ....."
    octets = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    project.publish(extra=[{"kty": "oct", "kid": "shared", "alg": "HS256", "k": octets}])
    token = jwt.encode(project.claims(), secret, "HS256", headers={"kid": "shared"})
    assert await refusal_code(authenticator, token) is ErrorCode.UNAUTHORIZED


async def test_a_token_signed_with_a_weak_key_is_refused(
    authenticator: Authenticator, project: Project
) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    project.add_key("weak", weak)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = project.token("weak")
    error = await refusal(authenticator, token)
    assert error.message == "The access token is signed with a key that is too weak."


async def test_a_token_that_names_no_key_is_refused(authenticator: Authenticator, project: Project) -> None:
    token = jwt.encode(project.claims(), project.keys["first"], "ES256")
    assert await refusal_code(authenticator, token) is ErrorCode.UNAUTHORIZED
    assert project.server.hits == 0


SUBJECTS = [
    *("", "alice", USER_ID, USER_ID.upper(), USER_ID.title(), USER_ID.replace("-", "")),
    *(f" {USER_ID}", f"{USER_ID} ", f"{USER_ID}\n", f"{{{USER_ID}}}", f"urn:uuid:{USER_ID}", f"{USER_ID}0"),
    *(USER_ID[:-1], USER_ID[1:], USER_ID.replace("-", "_"), USER_ID.replace("-", "", 1), f"-{USER_ID}"),
    *("0" * 36, "-" * 36, "00000000-0000-0000-0000-000000000000", "ffffffff-FFFF-ffff-FFFF-ffffffffffff"),
    *("g0000000-0000-0000-0000-000000000000", "0x000000-0000-0000-0000-000000000000"),
    *("+0000000-0000-0000-0000-000000000000", "0_000000-0000-0000-0000-000000000000"),
    *("\u0660" * 8 + "-0000-0000-0000-000000000000", "\uff210000000-0000-0000-0000-000000000000"),
    *("0000000-00000-0000-0000-000000000000", "00000000-0000-0000-00000000-00000000"),
]


def is_uuid(subject: str) -> bool:
    """Tell whether Python's UUID reads it, and would write it like that."""
    try:
        return str(UUID(subject)) == subject.lower()
    except ValueError:
        return False


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_user_id_is_a_uuid_with_nothing_around_it(subject: str) -> None:
    assert (claims._UUID.fullmatch(subject) is not None) is is_uuid(subject)


@given(st.one_of(st.uuids().map(str), st.text("0fF-{}\u0663", min_size=34, max_size=38)))
def test_no_other_text_is_a_user_id(subject: str) -> None:
    assert (claims._UUID.fullmatch(subject) is not None) is is_uuid(subject)


async def test_a_forged_token_that_has_expired_is_refused_like_any_forged_one(
    authenticator: Authenticator, project: Project
) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    expired = project.claims(exp=int(time.time()) - 60)
    forged = jwt.encode(expired, stranger, "ES256", headers={"kid": "first"})
    error = await refusal(authenticator, forged)
    assert error.message == "The signature of the access token is not valid."


async def test_a_header_that_asks_for_an_extension_is_refused(
    authenticator: Authenticator, project: Project
) -> None:
    for number in range(2):
        header = {"kid": "first", "crit": ["exp"], "exp": number}
        asking = jwt.encode(project.claims(), project.keys["first"], "ES256", headers=header)
        assert await refusal_code(authenticator, asking) is ErrorCode.UNAUTHORIZED


async def test_padding_changes_nothing(authenticator: Authenticator, project: Project) -> None:
    header, payload, signature = project.token().split(".")
    padded = f"{header}.{payload}.{signature}{'=' * (-len(signature) % 4)}"
    assert (await authenticator.authenticate(padded)).user_id == USER_ID


async def test_a_header_is_read_once_for_all_tokens_that_have_it(
    authenticator: Authenticator, project: Project
) -> None:
    claims._header.cache_clear()
    for seconds in range(1, 6):
        await authenticator.authenticate(project.token(exp=int(time.time()) + 60 * seconds))
    assert (claims._header.cache_info().misses, claims._header.cache_info().hits) == (1, 4)
    for number in range(500):
        await refusal(authenticator, f"{encode_part({'alg': 'none', 'kid': str(number)})}..")
    assert claims._header.cache_info().currsize <= 64
