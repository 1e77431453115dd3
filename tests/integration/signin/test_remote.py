"""Remote mode: the Auth server decides, through the `supabase` client."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from infra.cli.doctor.signin import signin_finding
from infra.local.signin.keys import load_key
from infra.local.signin.tokens import issue, signin_folder
from infra.settings.edge import AuthMode
from infra.wire.errors import ErrorCode, Rejection
from socket_edge.auth import Authenticator, create_authenticator
from tests.integration.signin.service import API_KEY, RunningService


@pytest.fixture
async def authenticator(signin: RunningService) -> AsyncIterator[Authenticator]:
    settings = signin.edge_settings(auth_mode=AuthMode.REMOTE, supabase_key=API_KEY)
    authenticator = create_authenticator(settings)
    yield authenticator
    await authenticator.aclose()


@pytest.fixture
def token(signin: RunningService) -> str:
    return issue(signin.data_dir, signin.auth_url, f"alice-{uuid4().hex[:8]}", 600).token


async def refusal_code(authenticator: Authenticator, token: str) -> ErrorCode:
    with pytest.raises(Rejection) as caught:
        await authenticator.authenticate(token)
    assert not token or token not in caught.value.message
    return caught.value.code


def forge(signin: RunningService, token: str, own_key: bool, **changes: object) -> str:
    """Return `token` with other claims, signed with the key of the service or with another one."""
    key = load_key(signin_folder(signin.data_dir))
    claims = {**jwt.decode(token, options={"verify_signature": False}), **changes}
    private = key.private if own_key else ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(claims, private, "ES256", headers={"kid": key.kid})


async def test_a_good_token_is_accepted(signin: RunningService, authenticator: Authenticator) -> None:
    issued = issue(signin.data_dir, signin.auth_url, "Remote-Alice", 600)
    identity = await authenticator.authenticate(issued.token)
    assert (identity.user_id, identity.username) == (issued.user_id, "Remote-Alice")
    assert identity.expires_at == pytest.approx(time.time() + 600, abs=10)


async def test_many_tokens_are_checked_at_once(
    signin: RunningService, authenticator: Authenticator, token: str
) -> None:
    identities = await asyncio.gather(*(authenticator.authenticate(token) for _ in range(20)))
    assert len(set(identities)) == 1


async def test_a_token_of_a_signed_out_session_is_refused(
    signin: RunningService, authenticator: Authenticator, token: str
) -> None:
    await authenticator.authenticate(token)
    async with httpx.AsyncClient(verify=False) as http:
        answer = await http.post(f"{signin.auth_url}/logout", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 204
    assert await refusal_code(authenticator, token) is ErrorCode.UNAUTHORIZED


async def test_a_token_with_a_wrong_signature_is_refused(
    signin: RunningService, authenticator: Authenticator, token: str
) -> None:
    assert await refusal_code(authenticator, forge(signin, token, own_key=False)) is ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize("bad", ["", "nonsense", "a.b.c", "x" * 20_000])
async def test_a_malformed_token_is_refused(authenticator: Authenticator, bad: str) -> None:
    assert await refusal_code(authenticator, bad) is ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize(
    "changes",
    [{"role": "anon"}, {"aud": "anon"}, {"iss": "https://elsewhere/auth/v1"}, {"sub": "alice"}],
    ids=str,
)
async def test_claims_are_checked_as_well(
    signin: RunningService, authenticator: Authenticator, token: str, changes: dict[str, object]
) -> None:
    bad = forge(signin, token, own_key=True, **changes)
    assert await refusal_code(authenticator, bad) is ErrorCode.UNAUTHORIZED


async def test_an_expired_token_has_its_own_code(
    signin: RunningService, authenticator: Authenticator, token: str
) -> None:
    expired = forge(signin, token, own_key=True, exp=int(time.time()) - 1)
    assert await refusal_code(authenticator, expired) is ErrorCode.TOKEN_EXPIRED


def test_the_doctor_finds_the_service_well(signin: RunningService) -> None:
    settings = signin.edge_settings(auth_mode=AuthMode.REMOTE, supabase_key=API_KEY)
    assert signin_finding(settings).advice is None


async def test_tokens_cannot_be_checked_while_the_auth_server_is_down(signin: RunningService) -> None:
    gone = RunningService("http://127.0.0.1:1", signin.data_dir)
    token = issue(signin.data_dir, gone.auth_url, "alice", 600).token
    authenticator = create_authenticator(gone.edge_settings(auth_mode=AuthMode.REMOTE, supabase_key=API_KEY))
    assert await refusal_code(authenticator, token) is ErrorCode.UNAVAILABLE
    await authenticator.aclose()
