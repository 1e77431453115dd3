"""The server API of an edge, on lanes that answer as a test wants."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, cast

import httpx
import msgspec
import pytest

from infra.settings.api_keys import ApiKey, make_key
from infra.wire.errors import ErrorCode, Failure
from infra.wire.inbox import Answer
from infra.wire.registry import COMMANDS
from infra.wire.server_api import CALLS, NOBODY, STATUS, Scope
from socket_edge import metrics
from socket_edge.api import server as module
from socket_edge.api.calls import Calls
from socket_edge.api.keys import ApiKeys
from socket_edge.api.server import ServerApi
from socket_edge.limits.token_bucket import TokenBucket
from socket_edge.relay.lanes import Lanes
from tests.harness.server_api import is_problem

ALICE, BOB = "019b0000-0000-7000-8000-00000000000a", "019b0000-0000-7000-8000-00000000000b"
KEY, KNOWN = make_key("backend", list(Scope))
HEADERS = {"Authorization": f"Bearer {KEY}"}
MESSAGE = {"from": ALICE, "to": BOB, "text": "hello"}
Settle = Callable[[Answer], None]


class FakeLanes:
    """Keeps what is relayed, and answers at once unless `silent`."""

    def __init__(self) -> None:
        self.relayed: list[tuple[int, str, str, Any]] = []
        self.waiting: list[Settle] = []
        self.failure: Failure | None = None
        self.silent = False

    def __len__(self) -> int:
        return 4

    def relay(self, lane: int, name: str, user_id: str, payload: bytes, settle: Settle) -> None:
        self.relayed.append((lane, name, user_id, msgspec.json.decode(payload)))
        if self.silent:
            self.waiting.append(settle)
        else:
            settle(Answer("1", msgspec.Raw(b'{"message":{"id":"1"},"success":true}'), failure=self.failure))


@pytest.fixture
def lanes() -> FakeLanes:
    return FakeLanes()


@pytest.fixture
def http(lanes: FakeLanes) -> httpx.AsyncClient:
    return client_of(lanes)


def client_of(lanes: FakeLanes, *keys: ApiKey, limit: TokenBucket | None = None) -> httpx.AsyncClient:
    calls = Calls(cast("Lanes", lanes), 1_000)
    api = ServerApi(ApiKeys(keys or [KNOWN]), calls, TokenBucket(0, 1) if limit is None else limit, 100_000)
    transport = httpx.ASGITransport(api)
    return httpx.AsyncClient(transport=transport, base_url="http://edge", headers=HEADERS)


@pytest.mark.parametrize("code", ErrorCode)
async def test_every_code_of_a_worker_has_a_status(
    http: httpx.AsyncClient, lanes: FakeLanes, code: ErrorCode
) -> None:
    lanes.failure = Failure.of(code, retry_after_ms=1_500 if code.retryable else None)
    answer = await http.post("/v1/messages", json=MESSAGE)
    assert is_problem(answer, STATUS[code], code)
    assert answer.headers.get("retry-after") == ("2" if code.retryable else None)
    assert answer.json()["detail"] == code.default_message


def test_every_call_relays_a_command_that_clients_may_send_or_that_is_its_own() -> None:
    assert {call.command for call in CALLS.values()} <= COMMANDS.keys()


async def test_all_messages_of_a_user_take_the_same_lane(http: httpx.AsyncClient, lanes: FakeLanes) -> None:
    users = [f"019b0000-0000-7000-8000-0000000000{number:02}" for number in range(20)]
    for user in users * 2:
        await http.post("/v1/messages", json={**MESSAGE, "from": user})
    by_user = {user: {lane for lane, _, one, _ in lanes.relayed if one == user} for user in users}
    assert all(len(taken) == 1 for taken in by_user.values())
    assert {lane for lane, *_ in lanes.relayed} == set(range(4))


async def test_all_changes_of_a_chat_take_the_same_lane(http: httpx.AsyncClient, lanes: FakeLanes) -> None:
    for chat in (ALICE, ALICE.upper(), ALICE.replace("-", "")):
        await http.patch(f"/v1/chats/{chat}/messages/1", json={"text": "[masked]"})
        await http.delete(f"/v1/chats/{chat}/messages/2")
    assert len({lane for lane, *_ in lanes.relayed}) == 1
    assert {user for _, _, user, _ in lanes.relayed} == {NOBODY}


async def test_a_call_about_a_user_runs_as_them_only_if_it_shows_what_they_see(
    http: httpx.AsyncClient, lanes: FakeLanes
) -> None:
    await http.get(f"/v1/users/{ALICE}/chats")
    await http.get(f"/v1/users/{ALICE}")
    await http.put(f"/v1/users/{ALICE}", json={"username": "alice", "userId": BOB})
    await http.put(f"/v1/users/{ALICE}/blocks/{BOB}")
    assert [(name, user, payload) for _, name, user, payload in lanes.relayed] == [
        ("list_chats", ALICE, {}),
        ("get_user", NOBODY, {"userId": ALICE}),
        ("put_user", NOBODY, {"userId": ALICE, "username": "alice"}),
        ("block_user", ALICE, {"userId": BOB}),
    ]


async def test_each_idempotency_key_and_place_has_a_client_id_of_its_own_that_does_not_tell_the_key(
    http: httpx.AsyncClient, lanes: FakeLanes
) -> None:
    keys, many = ("k", "k/0", "k" * 60, "k" * 59), {"messages": [MESSAGE] * 100}
    for _ in range(2):
        for key in keys:
            for body in (MESSAGE, many):
                await http.post("/v1/messages", json=body, headers={"Idempotency-Key": key})
    ids = [payload["clientId"] for *_, payload in lanes.relayed]
    once, again = ids[: len(ids) // 2], ids[len(ids) // 2 :]
    assert once == again
    assert len(set(once)) == len(once) == len(keys) * 101
    assert all(re.fullmatch("api-[0-9a-f]{32}", one) for one in ids)


async def test_without_such_a_key_a_message_has_no_client_id(
    http: httpx.AsyncClient, lanes: FakeLanes
) -> None:
    await http.post("/v1/messages", json=MESSAGE)
    assert lanes.relayed[0][3]["clientId"] is None


async def test_requests_in_flight_are_bounded(
    http: httpx.AsyncClient, lanes: FakeLanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_FLIGHT_MAX", 3)
    lanes.silent = True
    calls = [asyncio.create_task(http.post("/v1/messages", json=MESSAGE)) for _ in range(3)]
    while len(lanes.waiting) < 3:
        await asyncio.sleep(0)
    assert is_problem(await http.post("/v1/messages", json=MESSAGE), 429, "busy")
    for settle in lanes.waiting:
        settle(Answer("1", msgspec.Raw(b"{}")))
    assert [answer.status_code for answer in await asyncio.gather(*calls)] == [201] * 3
    lanes.silent = False
    assert (await http.post("/v1/messages", json=MESSAGE)).status_code == 201


async def test_a_body_over_the_limit_is_refused(http: httpx.AsyncClient, lanes: FakeLanes) -> None:
    answer = await http.post("/v1/messages", json={"messages": [{**MESSAGE, "text": "x" * 100_000}]})
    assert is_problem(answer, 413, "payload_too_large")
    assert lanes.relayed == []


async def test_several_keys_are_known_at_once_and_each_has_a_limit(lanes: FakeLanes) -> None:
    other_key, other = make_key("other", [Scope.MESSAGES])
    http = client_of(lanes, KNOWN, other, limit=TokenBucket(0.01, 1))
    others = {"Authorization": f"bearer {other_key}"}
    assert (await http.post("/v1/messages", json=MESSAGE)).status_code == 201
    assert (await http.post("/v1/messages", json=MESSAGE, headers=others)).status_code == 201
    assert is_problem(await http.post("/v1/messages", json=MESSAGE), 429, "rate_limited")


async def test_calls_are_counted_by_call_key_and_status(http: httpx.AsyncClient) -> None:
    def counted(*labels: str) -> float:
        return metrics.API_REQUESTS.counts.get(labels, 0)

    expected = [
        ("send_messages", "backend", "201"),
        ("send_messages", "backend", "400"),
        ("unknown", "backend", "404"),
        ("unknown", "unknown", "401"),
    ]
    before = [counted(*labels) for labels in expected]
    await http.post("/v1/messages", json=MESSAGE)
    await http.post("/v1/messages", json={})
    await http.get("/v1/nothing")
    await http.get("/v1/nothing", headers={"Authorization": "Basic xyz"})
    assert [counted(*labels) for labels in expected] == [count + 1 for count in before]
