"""Who may chat, in which mode it is seen, and when: the table in SECURITY.md."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from infra.settings.edge import AuthMode
from infra.wire.errors import ErrorCode
from socket_edge.auth import Authenticator, create_authenticator
from socket_edge.auth.rejections import RefusalReason, TokenRejection
from tests.harness.supabase_auth import SupabaseAuth, User
from tests.unit.socket_edge.auth.refusals import refusal

End = Callable[[SupabaseAuth, User], None]

ENDS: dict[str, tuple[End, str]] = {
    "banned": (SupabaseAuth.ban, "user_banned"),
    "signed out": (SupabaseAuth.sign_out, "session_not_found"),
    "soft-deleted": (SupabaseAuth.soft_delete, "session_not_found"),
    "deleted": (SupabaseAuth.delete, "user_not_found"),
}
"""What can happen to a user who has a token, and the code with which Supabase Auth then refuses it."""
MODES = list(AuthMode)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> AuthMode:
    mode: AuthMode = request.param
    return mode


@pytest.fixture
async def local(supabase: SupabaseAuth) -> AsyncIterator[Authenticator]:
    authenticator = create_authenticator(supabase.settings())
    yield authenticator
    await authenticator.aclose()


@pytest.fixture
async def remote(supabase: SupabaseAuth) -> AsyncIterator[Authenticator]:
    authenticator = create_authenticator(supabase.settings(auth_mode=AuthMode.REMOTE))
    yield authenticator
    await authenticator.aclose()


async def outcome(supabase: SupabaseAuth, token: str, **settings: Any) -> RefusalReason | None:
    """Return why an edge with these settings refuses a token for good, or None if it does not."""
    authenticator = create_authenticator(supabase.settings(**settings))
    try:
        await authenticator.authenticate(token)
    except TokenRejection as rejection:
        return rejection.reason if rejection.code is ErrorCode.UNAUTHORIZED else None
    finally:
        await authenticator.aclose()
    return None


@pytest.mark.parametrize("end", ENDS)
async def test_in_local_mode_it_is_seen_when_the_token_has_expired(
    supabase: SupabaseAuth, local: Authenticator, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    user = supabase.sign_up()
    token = supabase.sign_in(user)
    ENDS[end][0](supabase, user)
    identity = await local.authenticate(token)
    monkeypatch.setattr(time, "time", lambda: float(identity.expires_at))
    assert (await refusal(local, token)).code is ErrorCode.TOKEN_EXPIRED


@pytest.mark.parametrize("end", ENDS)
async def test_in_remote_mode_it_is_seen_when_the_token_is_next_presented(
    supabase: SupabaseAuth, remote: Authenticator, end: str
) -> None:
    """At a connect or a `refresh_token`, which both ask the authenticator."""
    user, other = supabase.sign_up(), supabase.sign_up()
    token, other_token = supabase.sign_in(user), supabase.sign_in(other)
    assert (await remote.authenticate(token)).user_id == user.id
    happen, code = ENDS[end]
    happen(supabase, user)
    error = await refusal(remote, token)
    assert isinstance(error, TokenRejection)
    assert (error.code, error.reason) == (ErrorCode.UNAUTHORIZED, RefusalReason.REFUSED_BY_AUTH_SERVER)
    assert error.got == f"403 {code}"
    assert (await remote.authenticate(other_token)).user_id == other.id


async def test_a_ban_that_is_over_counts_no_more(supabase: SupabaseAuth, remote: Authenticator) -> None:
    user = supabase.sign_up()
    supabase.ban(user, for_s=-1)
    assert await remote.authenticate(supabase.sign_in(user))


@pytest.mark.parametrize(
    ("is_anonymous", "allowed", "reason"),
    [
        (True, None, None),
        (True, True, None),
        (True, False, RefusalReason.ANONYMOUS),
        (False, False, None),
    ],
)
async def test_anonymous_users_may_chat_unless_the_setting_says_otherwise(
    supabase: SupabaseAuth,
    mode: AuthMode,
    is_anonymous: bool,
    allowed: bool | None,
    reason: RefusalReason | None,
) -> None:
    token = supabase.sign_in(supabase.sign_up(is_anonymous=is_anonymous))
    settings = {} if allowed is None else {"allow_anonymous": allowed}
    assert await outcome(supabase, token, auth_mode=mode, **settings) is reason


@pytest.mark.parametrize("claim", ["true", 1, "false", 0, [], {}])
async def test_a_strange_claim_counts_as_anonymous(supabase: SupabaseAuth, claim: object) -> None:
    token = supabase.sign_in(supabase.sign_up(), is_anonymous=claim)
    assert await outcome(supabase, token, allow_anonymous=False) is RefusalReason.ANONYMOUS


async def test_a_token_without_the_claim_is_not_anonymous(supabase: SupabaseAuth) -> None:
    """Releases before anonymous sign-ins did not write it."""
    token = supabase.sign_in(supabase.sign_up(), is_anonymous=None)
    assert await outcome(supabase, token, allow_anonymous=False) is None


@pytest.mark.parametrize(
    ("aal", "required", "reason"),
    [
        ("aal1", None, None),
        ("aal1", "aal1", None),
        (None, "aal1", None),
        ("aal1", "aal2", RefusalReason.ONE_FACTOR),
        (None, "aal2", RefusalReason.ONE_FACTOR),
        (2, "aal2", RefusalReason.ONE_FACTOR),
        (["aal2"], "aal2", RefusalReason.ONE_FACTOR),
        ("aal2", "aal2", None),
        ("aal2", "aal1", None),
        ("aal3", "aal2", None),
    ],
)
async def test_one_factor_is_enough_unless_the_setting_says_otherwise(
    supabase: SupabaseAuth, mode: AuthMode, aal: object, required: str | None, reason: RefusalReason | None
) -> None:
    token = supabase.sign_in(supabase.sign_up(), aal=aal)
    settings = {} if required is None else {"require_aal": required}
    assert await outcome(supabase, token, auth_mode=mode, **settings) is reason


async def test_a_gateway_that_refuses_our_key_signs_nobody_out(
    supabase: SupabaseAuth, remote: Authenticator
) -> None:
    token = supabase.sign_in(supabase.sign_up())
    supabase.publishable_key = "sb_publishable_the_next_one"
    error = await refusal(remote, token)
    assert isinstance(error, TokenRejection)
    assert (error.code, error.reason) == (ErrorCode.UNAVAILABLE, RefusalReason.API_KEY)
    supabase.publishable_key = supabase.settings().supabase_key or ""
    assert await remote.authenticate(token)


async def test_an_auth_server_that_is_down_decides_nothing(
    supabase: SupabaseAuth, remote: Authenticator
) -> None:
    token = supabase.sign_in(supabase.sign_up())
    supabase.is_down = True
    assert (await refusal(remote, token)).code is ErrorCode.UNAVAILABLE
