"""The `iss` of tokens differs from the address at which the edge reaches the project.

That happens with custom domains, gateways, self-hosted releases and the local CLI.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from infra.settings.edge import AuthMode
from infra.wire.errors import ErrorCode
from socket_edge.auth import Authenticator, create_authenticator
from tests.harness.supabase_auth import SECRET, KeyState, SupabaseAuth, User
from tests.unit.socket_edge.auth.refusals import refusal, refusal_code

Make = Callable[..., Awaitable[Authenticator]]

MODES: dict[str, dict[str, Any]] = {
    "published keys": {},
    "shared secret": {"supabase_jwt_secret": SECRET},
    "remote": {"auth_mode": AuthMode.REMOTE},
}

CASES: list[tuple[str, str | None, dict[str, str]]] = [
    ("as hosted by Supabase", "{url}/auth/v1", {}),
    (
        "a custom domain, reached by the project's own",
        "https://auth.example.com/auth/v1",
        {"jwt_issuer": "https://auth.example.com/auth/v1"},
    ),
    (
        "the project's own domain, reached by a custom one",
        "https://abc.supabase.co/auth/v1",
        {"jwt_issuer": "https://abc.supabase.co/auth/v1"},
    ),
    (
        "while a custom domain is introduced",
        "https://auth.example.com/auth/v1",
        {"jwt_issuer": "https://abc.supabase.co/auth/v1,https://auth.example.com/auth/v1"},
    ),
    ("a self-hosted release that writes no iss", None, {"jwt_issuer": "missing"}),
    ("one that writes an empty iss", "", {"jwt_issuer": "missing"}),
    (
        "while such a release is replaced",
        None,
        {"jwt_issuer": "missing,https://chat.example.com/auth/v1"},
    ),
    (
        "its successor",
        "https://chat.example.com/auth/v1",
        {"jwt_issuer": "missing,https://chat.example.com/auth/v1"},
    ),
    (
        "a self-hosted iss without /auth/v1",
        "https://chat.example.com",
        {"jwt_issuer": "https://chat.example.com"},
    ),
    (
        "a self-hosted iss with a slash at its end",
        "https://chat.example.com/auth/v1/",
        {"jwt_issuer": "https://chat.example.com/auth/v1/"},
    ),
    (
        "the local CLI, reached as localhost or from a container",
        "http://127.0.0.1:54321/auth/v1",
        {"jwt_issuer": "http://127.0.0.1:54321/auth/v1"},
    ),
]


@pytest.fixture
async def make(supabase: SupabaseAuth) -> AsyncIterator[Make]:
    """Make what an edge with these settings makes."""
    made: list[Authenticator] = []

    async def make(**settings: Any) -> Authenticator:
        made.append(create_authenticator(supabase.settings(**settings)))
        return made[-1]

    yield make
    for authenticator in made:
        await authenticator.aclose()


def sign_in(supabase: SupabaseAuth, mode: str, issuer: str | None) -> tuple[User, str]:
    if mode == "shared secret":
        supabase.add_secret(KeyState.STANDBY)
        supabase.rotate("legacy")
    supabase.issuer = issuer.format(url=supabase.url) if issuer is not None else None
    user = supabase.sign_up()
    return user, supabase.sign_in(user)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("issuer", "settings"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_the_issuer_is_what_the_setting_says_wherever_the_project_is_reached(
    supabase: SupabaseAuth, make: Make, mode: str, issuer: str | None, settings: dict[str, str]
) -> None:
    user, token = sign_in(supabase, mode, issuer)
    authenticator = await make(**MODES[mode], **settings)
    assert (await authenticator.authenticate(token)).user_id == user.id


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("issuer", "settings"),
    [
        ("https://elsewhere.supabase.co/auth/v1", {}),
        ("{url}/auth/v1/", {}),
        ("{url}", {}),
        ("", {}),
        (None, {}),
        (None, {"jwt_issuer": "https://chat.example.com/auth/v1"}),
        ("https://elsewhere.supabase.co/auth/v1", {"jwt_issuer": "missing"}),
        ("missing", {"jwt_issuer": "missing"}),
        ("{url}/auth/v1", {"jwt_issuer": "https://chat.example.com/auth/v1"}),
        ("https://chat.example.com/auth/v1", {"jwt_issuer": "https://chat.example.com/auth/v1/"}),
        ("https://Chat.example.com/auth/v1", {"jwt_issuer": "https://chat.example.com/auth/v1"}),
    ],
)
async def test_any_other_issuer_is_refused(
    supabase: SupabaseAuth, make: Make, mode: str, issuer: str | None, settings: dict[str, str]
) -> None:
    _, token = sign_in(supabase, mode, issuer)
    authenticator = await make(**MODES[mode], **settings)
    assert await refusal_code(authenticator, token) is ErrorCode.UNAUTHORIZED
    assert "/auth/v1/user" not in supabase.hits


async def test_the_keys_can_be_at_another_address(supabase: SupabaseAuth, make: Make) -> None:
    """A gateway in a container network, under whose address nothing else is."""
    user, token = sign_in(supabase, "published keys", "https://chat.example.com/auth/v1")
    authenticator = await make(
        supabase_url="https://chat.example.com", jwks_url=f"{supabase.url}/auth/v1/.well-known/jwks.json"
    )
    assert (await authenticator.authenticate(token)).user_id == user.id


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("audience", ["mobile", ["other", "mobile"]])
async def test_another_audience_can_be_accepted(
    supabase: SupabaseAuth, make: Make, mode: str, audience: object
) -> None:
    user, _ = sign_in(supabase, mode, "{url}/auth/v1")
    token = supabase.sign_in(user, aud=audience)
    strict = await make(**MODES[mode])
    assert (await refusal(strict, token)).message == "The access token is meant for another audience."
    authenticator = await make(**MODES[mode], jwt_audience="authenticated,mobile")
    assert (await authenticator.authenticate(token)).user_id == user.id
