"""The real `supabase` client cannot tell the dev service from Supabase Auth."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx
import pytest
import supabase
from supabase_auth.types import AuthResponse, Session

from socket_edge.auth import create_authenticator
from tests.integration.signin.service import API_KEY, RunningService

PASSWORD = "correct horse"


@pytest.fixture
def client(signin: RunningService) -> Iterator[supabase.Client]:
    with httpx.Client(verify=False) as http:
        options = supabase.ClientOptions(auto_refresh_token=False, httpx_client=http)
        yield supabase.create_client(signin.url, API_KEY, options)


@pytest.fixture
def email() -> str:
    return f"Alice-{uuid4().hex[:8]}@example.com"


def session_of(response: AuthResponse) -> Session:
    assert response.session
    return response.session


def sign_up(client: supabase.Client, email: str, **data: str) -> Session:
    credentials = {"email": email, "password": PASSWORD, "options": {"data": data}}
    return session_of(client.auth.sign_up(credentials))  # type: ignore[arg-type]


def sign_in(client: supabase.Client, email: str, password: str = PASSWORD) -> Session:
    return session_of(client.auth.sign_in_with_password({"email": email, "password": password}))


async def test_a_token_from_sign_up_is_accepted_by_the_edge(
    client: supabase.Client, signin: RunningService, email: str
) -> None:
    session = sign_up(client, email, username="Wonderland-" + email[:8], theme="dark")
    authenticator = create_authenticator(signin.edge_settings())
    identity = await authenticator.authenticate(session.access_token)
    await authenticator.aclose()
    assert identity.user_id == session.user.id == str(UUID(session.user.id))
    assert identity.expires_at == session.expires_at
    assert identity.username == "Wonderland-" + email[:8]
    assert session.user.user_metadata["theme"] == "dark"


def test_the_username_is_the_local_part_of_the_address_by_default(
    client: supabase.Client, email: str
) -> None:
    user = sign_up(client, email).user
    assert user.user_metadata["username"] == email.lower().partition("@")[0]
    assert user.email == email.lower()


def test_a_user_who_signed_up_can_sign_in_and_get_their_user(client: supabase.Client, email: str) -> None:
    user_id = sign_up(client, email).user.id
    session = sign_in(client, email.upper())
    answer = client.auth.get_user(session.access_token)
    assert answer
    assert answer.user.id == session.user.id == user_id
    assert answer.user.identities
    claims = client.auth.get_claims(session.access_token)
    assert claims
    assert claims["claims"]["sub"] == user_id


async def test_the_async_client_works_as_well(signin: RunningService, email: str) -> None:
    async with httpx.AsyncClient(verify=False) as http:
        options = supabase.AClientOptions(auto_refresh_token=False, httpx_client=http)
        client = await supabase.acreate_client(signin.url, API_KEY, options)
        session = session_of(await client.auth.sign_up({"email": email, "password": PASSWORD}))
        answer = await client.auth.get_user(session.access_token)
        assert answer
        assert answer.user.email == email.lower()
        await client.auth.sign_out()


def test_a_refresh_token_works_once(client: supabase.Client, email: str) -> None:
    first = sign_up(client, email)
    second = session_of(client.auth.refresh_session(first.refresh_token))
    assert second.user.id == first.user.id
    assert second.refresh_token != first.refresh_token
    with pytest.raises(supabase.AuthApiError) as caught:
        client.auth.refresh_session(first.refresh_token)
    assert str(caught.value.code) == "refresh_token_already_used"
    third = session_of(client.auth.refresh_session(second.refresh_token))
    assert third.refresh_token not in {first.refresh_token, second.refresh_token}


def test_a_wrong_password_and_an_unknown_user_get_the_same_error(client: supabase.Client, email: str) -> None:
    sign_up(client, email)
    for address, password in ((email, "wrong password"), ("nobody-" + email, PASSWORD)):
        with pytest.raises(supabase.AuthApiError, match="Invalid login credentials") as caught:
            sign_in(client, address, password)
        assert (caught.value.status, caught.value.code) == (400, "invalid_credentials")


def test_an_address_signs_up_once(client: supabase.Client, email: str) -> None:
    sign_up(client, email)
    with pytest.raises(supabase.AuthApiError) as caught:
        sign_up(client, email.upper(), username="another-" + email[:10])
    assert caught.value.code == "user_already_exists"


def test_a_username_is_taken_in_any_case(client: supabase.Client, email: str) -> None:
    sign_up(client, email)
    with pytest.raises(supabase.AuthApiError) as caught:
        sign_up(client, "2" + email, username=email.partition("@")[0].upper())
    assert caught.value.code == "conflict"


def test_a_weak_password_has_its_own_error(client: supabase.Client, email: str) -> None:
    with pytest.raises(supabase.AuthWeakPasswordError) as caught:
        client.auth.sign_up({"email": email, "password": "short"})
    assert caught.value.reasons == ["length"]


def test_an_invalid_address_is_refused(client: supabase.Client) -> None:
    with pytest.raises(supabase.AuthApiError) as caught:
        client.auth.sign_up({"email": "alice", "password": PASSWORD})
    assert caught.value.code == "validation_failed"


def test_signing_out_ends_the_session(client: supabase.Client, email: str) -> None:
    session = sign_up(client, email)
    client.auth.sign_out()
    with pytest.raises(supabase.AuthApiError) as caught:
        client.auth.get_user(session.access_token)
    assert caught.value.code == "session_not_found"
    with pytest.raises(supabase.AuthApiError):
        client.auth.refresh_session(session.refresh_token)


@pytest.mark.parametrize(
    ("scope", "here_survives", "elsewhere_survives"),
    [("local", False, True), ("others", True, False), ("global", False, False)],
)
def test_the_scope_says_which_sessions_end(
    client: supabase.Client, email: str, scope: str, here_survives: bool, elsewhere_survives: bool
) -> None:
    elsewhere = sign_up(client, email)
    here = sign_in(client, email)
    client.auth.sign_out({"scope": scope})  # type: ignore[arg-type]
    for session, survives in ((here, here_survives), (elsewhere, elsewhere_survives)):
        assert is_alive(client, session) is survives


def is_alive(client: supabase.Client, session: Session) -> bool:
    try:
        return client.auth.get_user(session.access_token) is not None
    except supabase.AuthApiError:
        return False
