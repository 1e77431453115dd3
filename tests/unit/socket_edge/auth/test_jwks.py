import asyncio
import json
import math
from collections.abc import AsyncIterator

import pytest

from infra.wire.errors import ErrorCode
from socket_edge.auth import jwks
from socket_edge.auth.claims import ClaimRules
from socket_edge.auth.verifier import TokenVerifier
from tests.harness.key_server import USER_ID, Clock, KeyServer, Project, public_jwk
from tests.unit.socket_edge.auth.conftest import COOLDOWN_S
from tests.unit.socket_edge.auth.refusals import refusal, refusal_code

GARBAGE = [
    b"",
    b"<html>hello</html>",
    b"null",
    b"[]",
    b"{}",
    b'{"keys": "none"}',
    b'{"keys": null}',
    b"[" * 100_000,
    b'{"keys": "' + b"x" * 400_000 + b'"}',
    b"\xff\xfe\x00",
]
"""What is no JWKS at all."""
NO_KEYS = [
    b'{"keys": []}',
    b'{"keys": [7, null, {}, {"kty": "EC", "kid": "first", "crv": "P-256", "x": 7, "y": 7}]}',
    b'{"keys": [{"kty": "oct", "kid": "first", "k": "AAAA"}]}',
    b'{"keys": [{"kty": "oct", "kid": "first", "k": "AAAA", "alg": "ES256", "use": "sig"}]}',
    b'{"keys": [{"kty": ["EC"], "kid": "first", "crv": {}, "alg": 5}]}',
]
"""A JWKS without any key that could verify a token."""


@pytest.fixture
async def ticks() -> AsyncIterator[list[int]]:
    """Another coroutine of the same loop; the list grows while the loop is free."""
    seen: list[int] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.005)
            seen.append(len(seen))

    task = asyncio.create_task(tick())
    yield seen
    task.cancel()


def other_token(project: Project, kid: str) -> str:
    """Return a token that names a key which nobody publishes."""
    return project.token(header={"kid": kid})


async def test_keys_are_fetched_with_the_first_token_and_then_kept(
    verifier: TokenVerifier, project: Project
) -> None:
    assert project.server.hits == 0
    for _ in range(20):
        await verifier.authenticate(project.token())
    assert project.server.hits == 1


async def test_requests_that_come_together_share_one_fetch(verifier: TokenVerifier, project: Project) -> None:
    project.server.delay_s = 0.1
    tokens = [project.token() for _ in range(50)]
    identities = await asyncio.gather(*(verifier.authenticate(token) for token in tokens))
    assert {identity.user_id for identity in identities} == {USER_ID}
    assert project.server.hits == 1


async def test_a_client_that_hangs_up_does_not_cancel_the_fetch_for_others(
    verifier: TokenVerifier, project: Project
) -> None:
    with project.server.held():
        impatient = asyncio.create_task(verifier.authenticate(project.token()))
        patient = asyncio.create_task(verifier.authenticate(project.token()))
        await project.server.until_hits(1)
        impatient.cancel()
    assert (await patient).user_id == USER_ID
    assert project.server.hits == 1


async def test_a_thousand_unknown_keys_cost_one_fetch_per_cool_down(
    verifier: TokenVerifier, project: Project, clock: Clock
) -> None:
    await verifier.authenticate(project.token())
    tokens = [other_token(project, f"unknown-{number}") for number in range(1000)]
    for fetches, code in (
        (1, ErrorCode.UNAVAILABLE),
        (1, ErrorCode.UNAVAILABLE),
        (2, ErrorCode.UNAUTHORIZED),
        (2, ErrorCode.UNAVAILABLE),
        (3, ErrorCode.UNAUTHORIZED),
    ):
        codes = await asyncio.gather(*(refusal_code(verifier, token) for token in tokens))
        assert set(codes) == {code}
        assert project.server.hits == fetches
        clock.now += COOLDOWN_S / 2


async def test_a_failing_endpoint_is_asked_once_per_cool_down(
    verifier: TokenVerifier, project: Project, clock: Clock
) -> None:
    project.server.status = 500
    for fetches in (1, 2):
        for _ in range(50):
            error = await refusal(verifier, project.token())
            assert error.code is ErrorCode.UNAVAILABLE
            assert error.code.retryable
        assert project.server.hits == fetches
        clock.now += COOLDOWN_S
    project.server.status = 200
    assert (await verifier.authenticate(project.token())).user_id == USER_ID


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:40]))
async def test_garbage_before_any_key_is_known_means_unavailable(
    verifier: TokenVerifier, project: Project, clock: Clock, body: bytes
) -> None:
    project.server.body = body
    assert await refusal_code(verifier, project.token()) is ErrorCode.UNAVAILABLE
    assert await refusal_code(verifier, project.token()) is ErrorCode.UNAVAILABLE
    assert project.server.hits == 1
    clock.now += COOLDOWN_S
    project.publish()
    assert (await verifier.authenticate(project.token())).user_id == USER_ID


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:40]))
async def test_known_keys_keep_working_while_garbage_is_served(
    verifier: TokenVerifier, project: Project, clock: Clock, body: bytes
) -> None:
    await verifier.authenticate(project.token())
    project.server.body = body
    clock.now += COOLDOWN_S
    assert await refusal_code(verifier, other_token(project, "unknown")) is ErrorCode.UNAVAILABLE
    assert project.server.hits == 2
    assert (await verifier.authenticate(project.token())).user_id == USER_ID


@pytest.mark.parametrize("body", NO_KEYS, ids=lambda body: repr(body[:40]))
async def test_without_a_usable_key_no_key_counts(
    verifier: TokenVerifier, project: Project, clock: Clock, body: bytes
) -> None:
    """That is what a project publishes which went back to its legacy secret."""
    await verifier.authenticate(project.token())
    project.server.body = body
    clock.now += jwks.MAX_AGE_S + 1
    for _ in range(2):
        assert await refusal_code(verifier, project.token()) is ErrorCode.UNAUTHORIZED
        clock.now += COOLDOWN_S
    project.publish()
    assert (await verifier.authenticate(project.token())).user_id == USER_ID


@pytest.mark.parametrize("body", NO_KEYS, ids=lambda body: repr(body[:40]))
async def test_a_token_of_a_project_that_publishes_no_key_is_refused(
    verifier: TokenVerifier, project: Project, body: bytes
) -> None:
    project.server.body = body
    assert await refusal_code(verifier, project.token()) is ErrorCode.UNAUTHORIZED
    assert await refusal_code(verifier, project.token()) is ErrorCode.UNAVAILABLE
    assert project.server.hits == 1


async def test_known_keys_keep_working_while_the_endpoint_is_down(
    verifier: TokenVerifier, project: Project, clock: Clock
) -> None:
    await verifier.authenticate(project.token())
    project.server.stop()
    for _ in range(3):
        clock.now += jwks.MAX_AGE_S + 1
        assert (await verifier.authenticate(project.token())).user_id == USER_ID
        assert await refusal_code(verifier, other_token(project, "unknown")) is ErrorCode.UNAVAILABLE
        assert (await verifier.authenticate(project.token())).user_id == USER_ID


async def test_a_redirect_is_not_followed(verifier: TokenVerifier, project: Project) -> None:
    project.server.status = 302
    assert await refusal_code(verifier, project.token()) is ErrorCode.UNAVAILABLE
    assert project.server.hits == 1


@pytest.mark.parametrize("passed_s", [0, 7.25, COOLDOWN_S - 0.0005])
async def test_a_new_key_works_after_the_cool_down_and_the_client_is_told_when(
    verifier: TokenVerifier, project: Project, clock: Clock, passed_s: float
) -> None:
    await verifier.authenticate(project.token())
    project.add_key("second")
    clock.now += passed_s
    error = await refusal(verifier, project.token("second"))
    assert (error.code, error.code.retryable) == (ErrorCode.UNAVAILABLE, True)
    assert error.retry_after_ms == math.ceil((COOLDOWN_S - passed_s) * 1000)
    clock.now += error.retry_after_ms / 1000
    assert (await verifier.authenticate(project.token("second"))).user_id == USER_ID
    assert (await verifier.authenticate(project.token("first"))).user_id == USER_ID


async def test_a_failing_endpoint_tells_when_to_try_again(
    verifier: TokenVerifier, project: Project, clock: Clock
) -> None:
    project.server.status = 500
    assert (await refusal(verifier, project.token())).retry_after_ms == COOLDOWN_S * 1000
    clock.now += 10
    assert (await refusal(verifier, project.token())).retry_after_ms == (COOLDOWN_S - 10) * 1000


async def test_a_flood_of_unknown_keys_does_not_keep_a_new_key_out(
    verifier: TokenVerifier, project: Project, clock: Clock
) -> None:
    await verifier.authenticate(project.token())
    project.add_key("second")
    for number in range(int(COOLDOWN_S)):
        clock.now += 1
        await refusal(verifier, other_token(project, f"unknown-{number}"))
    assert (await verifier.authenticate(project.token("second"))).user_id == USER_ID


async def test_a_revoked_key_is_not_used_once_more_after_its_age(
    verifier: TokenVerifier, project: Project, clock: Clock
) -> None:
    project.add_key("leaked")
    leaked = project.token("leaked")
    await verifier.authenticate(leaked)
    project.remove_key("leaked")
    clock.now += jwks.MAX_AGE_S
    await verifier.authenticate(leaked)
    clock.now += 1
    assert await refusal_code(verifier, leaked) is ErrorCode.UNAUTHORIZED
    assert project.server.hits == 2
    assert (await verifier.authenticate(project.token())).user_id == USER_ID


async def test_no_cool_down_keeps_a_revoked_key_in_use_past_its_age(project: Project, clock: Clock) -> None:
    rules = ClaimRules(issuers=frozenset({project.issuer}))
    verifier = TokenVerifier(jwks.Jwks(f"{project.server.url}/jwks", 86_400, clock), rules)
    await verifier.authenticate(project.token())
    project.remove_key("first")
    clock.now += jwks.MAX_AGE_S + 1
    assert await refusal_code(verifier, project.token()) is ErrorCode.UNAUTHORIZED
    await verifier.aclose()


async def test_keys_past_their_age_wait_for_the_new_ones(
    verifier: TokenVerifier, project: Project, clock: Clock
) -> None:
    await verifier.authenticate(project.token())
    clock.now += jwks.MAX_AGE_S + 1
    with project.server.held():
        waiting = [asyncio.create_task(verifier.authenticate(project.token())) for _ in range(20)]
        await project.server.until_hits(2)
        assert not any(task.done() for task in waiting)
    assert {identity.user_id for identity in await asyncio.gather(*waiting)} == {USER_ID}
    assert project.server.hits == 2


@pytest.mark.parametrize(("status", "body"), [(500, b""), (302, b""), (200, b"<html>")])
async def test_keys_past_their_age_count_while_the_endpoint_is_down_and_wait_once_per_cool_down(
    verifier: TokenVerifier, project: Project, clock: Clock, status: int, body: bytes
) -> None:
    await verifier.authenticate(project.token())
    project.server.status, project.server.body = status, body
    clock.now += jwks.MAX_AGE_S + 1
    for fetches in (2, 3):
        for _ in range(20):
            assert (await verifier.authenticate(project.token())).user_id == USER_ID
        assert project.server.hits == fetches
        clock.now += COOLDOWN_S


async def test_keys_past_their_age_count_if_the_endpoint_hangs(
    verifier: TokenVerifier, project: Project, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await verifier.authenticate(project.token())
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 0.1)
    clock.now += jwks.MAX_AGE_S + 1
    with project.server.held():
        for _ in range(3):
            assert (await verifier.authenticate(project.token())).user_id == USER_ID
    assert project.server.hits == 2


async def test_a_slow_endpoint_does_not_block_the_loop(
    verifier: TokenVerifier, project: Project, clock: Clock, ticks: list[int]
) -> None:
    await verifier.authenticate(project.token())
    project.add_key("second")
    clock.now += COOLDOWN_S
    with project.server.held():
        waiting = asyncio.create_task(verifier.authenticate(project.token("second")))
        await project.server.until_hits(2)
        assert (await verifier.authenticate(project.token())).user_id == USER_ID
        before = len(ticks)
        while len(ticks) - before <= 15:
            await asyncio.sleep(0)
        assert not waiting.done(), "neither the known key nor the loop may wait for the fetch"
    assert (await waiting).user_id == USER_ID


async def test_an_endpoint_that_never_answers_is_given_up(
    verifier: TokenVerifier, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 0.1)
    with project.server.held():
        assert await refusal_code(verifier, project.token()) is ErrorCode.UNAVAILABLE


async def test_one_strange_key_does_not_spoil_the_others(verifier: TokenVerifier, project: Project) -> None:
    p384 = {"kty": "EC", "crv": "P-384", "kid": "big", "x": "AAAA", "y": "AAAA", "alg": "ES384"}
    unnamed = {**public_jwk("first", project.keys["first"]), "kid": ["first"]}
    project.publish(extra=[p384, unnamed, {"kty": "new"}, None, 7])
    assert (await verifier.authenticate(project.token())).user_id == USER_ID


async def test_a_key_for_encryption_signs_no_tokens(verifier: TokenVerifier, project: Project) -> None:
    project.add_key("enc")
    encryption = {**public_jwk("enc", project.keys["enc"]), "use": "enc"}
    project.publish(without="enc", extra=[encryption])
    assert await refusal_code(verifier, project.token("enc")) is ErrorCode.UNAUTHORIZED
    assert (await verifier.authenticate(project.token())).user_id == USER_ID


async def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    verifier: TokenVerifier, project: Project
) -> None:
    good = public_jwk("first", project.keys["first"])
    project.server.body = json.dumps({"keys": [good], "padding": "x" * 400_000}).encode()
    assert await refusal_code(verifier, project.token()) is ErrorCode.UNAVAILABLE


async def test_a_fetch_that_outlasts_the_cool_down_stays_the_only_one(
    verifier: TokenVerifier, project: Project, clock: Clock
) -> None:
    token = project.token()
    with project.server.held():
        early = asyncio.create_task(verifier.authenticate(token))
        await project.server.until_hits(1)
        clock.now += COOLDOWN_S
        late = asyncio.create_task(verifier.authenticate(token))
        await asyncio.sleep(0)  # lets it start
    assert (await early) == (await late)
    assert project.server.hits == 1


async def test_closing_stops_a_running_fetch(project: Project, server: KeyServer) -> None:
    keys = jwks.Jwks(f"{server.url}/jwks", COOLDOWN_S)
    with server.held():
        waiting = asyncio.create_task(keys.key("first"))
        await server.until_hits(1)
        await keys.aclose()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_key_may_leave_out_its_use_and_algorithm(verifier: TokenVerifier, project: Project) -> None:
    key = public_jwk("first", project.keys["first"])
    bare = {name: value for name, value in key.items() if name not in {"use", "alg"}}
    project.publish(without="first", extra=[bare])
    assert (await verifier.authenticate(project.token())).user_id == USER_ID
