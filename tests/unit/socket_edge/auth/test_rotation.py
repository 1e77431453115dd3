"""Signing keys change, from the legacy secret to ES256 too, and nobody is signed out by it.

The steps are those of https://supabase.com/docs/guides/auth/signing-keys
"""

import base64
import hmac
import json
from collections.abc import AsyncIterator

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from infra.wire.errors import ErrorCode
from socket_edge.auth import Authenticator, create_authenticator, jwks
from socket_edge.auth.claims import ClaimRules
from socket_edge.auth.jwks import Jwks
from socket_edge.auth.verifier import TokenVerifier
from tests.harness.key_server import Clock, Project, public_jwk
from tests.harness.supabase_auth import SECRET, KeyState, SupabaseAuth
from tests.unit.socket_edge.auth.conftest import COOLDOWN_S
from tests.unit.socket_edge.auth.refusals import refusal_code

HOUR_S = 3_600


@pytest.fixture
def moving(supabase: SupabaseAuth) -> SupabaseAuth:
    """A project that has its legacy secret only: its JWKS is empty."""
    supabase.keys.clear()
    supabase.add_secret()
    assert supabase.jwks() == {"keys": []}
    return supabase


def verifier_of(supabase: SupabaseAuth, clock: Clock, secret: str | None) -> TokenVerifier:
    rules = ClaimRules(issuers=frozenset({f"{supabase.url}/auth/v1"}))
    keys = Jwks(f"{supabase.url}/auth/v1/.well-known/jwks.json", COOLDOWN_S, clock)
    return TokenVerifier(keys, rules, secret)


@pytest.fixture
async def edge(moving: SupabaseAuth, clock: Clock) -> AsyncIterator[TokenVerifier]:
    """An edge that runs all the time, with the secret."""
    verifier = verifier_of(moving, clock, SECRET)
    yield verifier
    await verifier.aclose()


async def test_the_move_from_the_secret_to_es256_signs_nobody_out(
    moving: SupabaseAuth, edge: TokenVerifier, clock: Clock
) -> None:
    user = moving.sign_up()
    first = moving.sign_in(user)
    assert (await edge.authenticate(first)).user_id == user.id

    moving.add_key("new")
    assert jwt.get_unverified_header(moving.sign_in(user))["alg"] == "HS256"
    assert (await edge.authenticate(moving.sign_in(user))).user_id == user.id

    moving.rotate("new")
    second = moving.sign_in(user)
    assert jwt.get_unverified_header(second) == {"alg": "ES256", "kid": "new", "typ": "JWT"}
    for token in (second, first):
        assert (await edge.authenticate(token)).user_id == user.id

    clock.now += HOUR_S  # the life of the last HS256 token
    moving.revoke("legacy")
    assert (await edge.authenticate(second)).user_id == user.id

    restarted = verifier_of(moving, clock, secret=None)
    assert (await restarted.authenticate(second)).user_id == user.id
    assert await refusal_code(restarted, first) is ErrorCode.UNAUTHORIZED
    await restarted.aclose()


async def test_the_move_back_to_the_secret_signs_nobody_out_either(
    moving: SupabaseAuth, edge: TokenVerifier
) -> None:
    moving.add_key("new", KeyState.STANDBY)
    moving.rotate("new")
    user = moving.sign_up()
    before = moving.sign_in(user)
    assert await edge.authenticate(before)
    moving.rotate("legacy")
    for token in (before, moving.sign_in(user)):
        assert (await edge.authenticate(token)).user_id == user.id


@pytest.mark.parametrize("algorithms", [("ES256", "RS256"), ("RS256", "ES256"), ("ES256", "ES256")], ids=str)
async def test_one_key_follows_another(
    supabase: SupabaseAuth, clock: Clock, algorithms: tuple[str, str]
) -> None:
    supabase.keys.clear()
    for kid, algorithm in zip(("old", "new"), algorithms, strict=True):
        (supabase.add_key if algorithm == "ES256" else supabase.add_rsa_key)(kid)
    verifier = verifier_of(supabase, clock, secret=None)
    user = supabase.sign_up()
    supabase.rotate("old")
    old = supabase.sign_in(user)
    assert await verifier.authenticate(old)
    supabase.rotate("new")
    new = supabase.sign_in(user)
    for token in (old, new):
        assert await verifier.authenticate(token)
    assert supabase.hits["/auth/v1/.well-known/jwks.json"] == 1, "a standby key is known beforehand"
    supabase.revoke("old")
    clock.now += jwks.MAX_AGE_S + 1
    assert await verifier.authenticate(new)
    clock.now += COOLDOWN_S
    assert await refusal_code(verifier, old) is ErrorCode.UNAUTHORIZED
    await verifier.aclose()


async def test_tokens_of_the_secret_do_not_need_the_endpoint_of_the_keys(
    moving: SupabaseAuth, edge: TokenVerifier
) -> None:
    moving.is_down = True
    user = moving.sign_up()
    assert (await edge.authenticate(moving.sign_in(user))).user_id == user.id
    moving.close()
    assert (await edge.authenticate(moving.sign_in(user))).user_id == user.id
    assert moving.hits == {}


@pytest.fixture
async def both(project: Project) -> AsyncIterator[Authenticator]:
    """Give what accepts the secret and the published keys of a project."""
    authenticator = create_authenticator(project.settings(supabase_jwt_secret=SECRET))
    yield authenticator
    await authenticator.aclose()


async def test_no_published_key_is_taken_for_a_shared_secret(both: Authenticator, project: Project) -> None:
    """With the secret configured, HS256 is allowed: then nothing that the JWKS holds may sign it."""
    public = project.keys["first"].public_key()
    jwk = public_jwk("first", project.keys["first"])
    octets = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"
    odd = [
        {"kty": "oct", "kid": "plain", "k": octets, "alg": "HS256"},
        {"kty": "oct", "kid": "lying", "k": octets, "alg": "ES256"},
        {**jwk, "kid": "claims-hs256", "alg": "HS256"},
        {**jwk, "kid": ""},
    ]
    project.publish(extra=odd)
    pem = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    secrets = (
        public.public_bytes(*pem),
        public.public_bytes(serialization.Encoding.DER, pem[1]),
        json.dumps(jwk).encode(),
        base64.urlsafe_b64decode(octets + "="),
        octets.encode(),
        b"",
    )
    for kid in ("first", "plain", "lying", "claims-hs256", ""):
        for secret in secrets:
            head = part({"alg": "HS256", "typ": "JWT", "kid": kid})
            signed = f"{head}.{part(project.claims())}"
            signature = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256"))
            token = f"{signed}.{signature.rstrip(b'=').decode()}"
            assert await refusal_code(both, token) is ErrorCode.UNAUTHORIZED
    assert await both.authenticate(project.token())


async def test_the_secret_verifies_no_token_that_names_a_published_key_and_its_algorithm(
    both: Authenticator, project: Project
) -> None:
    head = part({"alg": "ES256", "typ": "JWT", "kid": "first"})
    signed = f"{head}.{part(project.claims())}"
    signature = base64.urlsafe_b64encode(hmac.digest(SECRET.encode(), signed.encode(), "sha256"))
    token = f"{signed}.{signature.rstrip(b'=').decode()}"
    assert await refusal_code(both, token) is ErrorCode.UNAUTHORIZED


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
