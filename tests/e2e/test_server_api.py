"""The app's own backend calls an edge over HTTP, and users hear of it on their sockets."""

import asyncio
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import ClientFactory, DeploymentFactory, Name
from tests.harness.client import Client
from tests.harness.deployment import Deployment, Edge, make_token, user_id_of
from tests.harness.server_api import API_KEYS, KEY, READ_KEY, Backend, is_problem

NOBODY = str(uuid.UUID(int=0))
"""An id that no user and no chat has."""

Pair = tuple[Client, Client]


@pytest.fixture(scope="module")
def api_edge(two_edges: Deployment) -> Iterator[Edge]:
    """One more edge of the deployment, which has API keys."""
    edge = two_edges.start_edge(api_keys=API_KEYS)
    yield edge
    edge.stop()
    two_edges.edges.remove(edge)


@pytest.fixture
def backend(api_edge: Edge) -> Backend:
    return Backend(api_edge)


@pytest.fixture
async def pair(edge: Edge, client: ClientFactory, name: Name) -> Pair:
    """Two users on another edge than the backend's, both with a profile."""
    alice, bob = client(name("alice")), client(name("bob"))
    for user in (alice, bob):
        await user.connect(edge)
        await user.call("get_settings", {})
    return alice, bob


def message(pair: Pair, text: str = "hello", **more: Any) -> dict[str, Any]:
    """Return a message of the first to the second."""
    return {"from": user_id_of(pair[0].username), "to": user_id_of(pair[1].username), "text": text, **more}


def stored(chat: Deployment, pair: Pair) -> list[str]:
    """Return the texts of the first user, in the order in which they are stored."""
    rows = chat.rows(
        "SELECT text FROM messages WHERE sender_id = :id ORDER BY seq", id=user_id_of(pair[0].username)
    )
    return [row.text for row in rows]


async def test_a_message_of_the_backend_reaches_both_users(
    backend: Backend, pair: Pair, two_edges: Deployment
) -> None:
    answer = await backend.send(message(pair, data={"order": 7}))
    assert answer.status_code == 201
    assert "connection" not in answer.headers  # it stays open
    sent = answer.json()["message"]
    assert (sent["text"], sent["data"], sent["senderId"]) == (
        "hello",
        {"order": 7},
        user_id_of(pair[0].username),
    )
    received = await pair[1].expect("new_message", lambda one: one["id"] == sent["id"])
    assert received == sent
    await pair[0].expect("message_sent", lambda one: one["id"] == sent["id"])
    assert stored(two_edges, pair) == ["hello"]


async def test_an_idempotency_key_makes_a_call_safe_to_repeat(
    backend: Backend, pair: Pair, two_edges: Deployment
) -> None:
    first = await backend.send(message(pair), key="order-7")
    again = await backend.send(message(pair), key="order-7")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert (await backend.send(message(pair, "another"), key="order-8")).status_code == 201
    assert stored(two_edges, pair) == ["hello", "another"]


async def test_several_messages_are_stored_in_order_and_each_has_a_result(
    backend: Backend, pair: Pair, two_edges: Deployment
) -> None:
    texts = [f"message {number}" for number in range(100)]
    messages = [message(pair, text) for text in texts]
    messages[50]["to"] = str(uuid.uuid4())
    messages[60]["text"] = "x" * 70_000
    answer = await backend.send({"messages": messages}, key="many")
    assert answer.status_code == 200
    results = answer.json()["results"]
    del texts[60], texts[50]
    assert [one["message"]["text"] for one in results if "message" in one] == texts == stored(two_edges, pair)
    problems = {place: one["problem"]["code"] for place, one in enumerate(results) if "problem" in one}
    assert problems == {50: "user_not_found", 60: "payload_too_large"}
    again = (await backend.send({"messages": messages}, key="many")).json()["results"]
    assert [one.get("message") for one in again] == [one.get("message") for one in results]
    assert stored(two_edges, pair) == texts


async def test_a_message_obeys_blocks(backend: Backend, pair: Pair, two_edges: Deployment) -> None:
    alice, bob = pair
    assert (await bob.call("block_user", {"userId": user_id_of(alice.username)}))["success"]
    assert is_problem(await backend.send(message(pair)), 403, "not_allowed")
    assert stored(two_edges, pair) == []


async def test_the_app_says_something_during_a_block_and_a_repetition_says_it_once(
    backend: Backend, pair: Pair, two_edges: Deployment
) -> None:
    alice, bob = pair
    assert (await bob.call("block_user", {"userId": user_id_of(alice.username)}))["success"]
    said = message(pair, "Your order was shipped.", kind="system", data={"order": 7})
    answer = await backend.send(said, key="order-7")
    assert answer.status_code == 201
    sent = answer.json()["message"]
    assert (sent["kind"], sent["senderId"], sent["data"]) == ("system", said["from"], {"order": 7})
    assert await bob.expect("new_message", lambda one: one["id"] == sent["id"]) == sent
    assert await alice.expect("message_sent", lambda one: one["id"] == sent["id"]) == sent
    again = await backend.send(said, key="order-7")
    assert (again.status_code, again.json()) == (201, answer.json())
    assert stored(two_edges, pair) == ["Your order was shipped."]


async def test_users_and_the_app_in_one_call_keep_their_order(
    backend: Backend, pair: Pair, two_edges: Deployment
) -> None:
    texts = [f"message {number}" for number in range(20)]
    kinds = [{"kind": "system"} if number % 3 == 0 else {} for number in range(20)]
    messages = [message(pair, text, **kind) for text, kind in zip(texts, kinds, strict=True)]
    for _ in range(2):
        results = (await backend.send({"messages": messages}, key="mixed")).json()["results"]
        assert [one["message"].get("kind") for one in results] == [kind.get("kind") for kind in kinds]
        assert stored(two_edges, pair) == texts


async def test_a_user_cannot_speak_as_the_app(pair: Pair) -> None:
    alice, bob = pair
    more = {"userId": user_id_of(bob.username), "text": "Free money!", "kind": "system"}
    assert "kind" not in (await alice.call("send_message", more))["message"]
    assert (await alice.call("send_system_message", more))["code"] == "unknown_event"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"kind": "user"}, 400, "invalid_payload"),
        ({"kind": None}, 400, "invalid_payload"),
        ({"kind": "system", "from": NOBODY}, 409, "profile_missing"),
        ({"kind": "system", "to": NOBODY}, 404, "user_not_found"),
        ({"kind": "system", "text": ""}, 400, "invalid_payload"),
        ({"kind": "system", "replyTo": 99}, 404, "message_not_found"),
        ({"from": NOBODY}, 409, "profile_missing"),
        ({"to": NOBODY}, 404, "user_not_found"),
        ({"text": ""}, 400, "invalid_payload"),
        ({"text": 1}, 400, "invalid_payload"),
        ({"to": "nobody"}, 400, "invalid_payload"),
        ({"replyTo": 99}, 404, "message_not_found"),
        ({"text": "x" * 70_000}, 413, "payload_too_large"),
        ({"data": []}, 400, "invalid_payload"),
    ],
)
async def test_a_message_that_is_not_stored_is_answered_with_a_problem(
    backend: Backend, pair: Pair, two_edges: Deployment, change: dict[str, Any], status: int, code: str
) -> None:
    assert is_problem(await backend.send({**message(pair), **change}), status, code)
    assert stored(two_edges, pair) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff", b'{"messages":[]}', b'{"messages":1}', b"[" * 1_000, b'{"text":"\\ud800"}'],
)
async def test_a_body_that_is_none_is_a_problem(backend: Backend, body: bytes) -> None:
    assert is_problem(await backend.call("POST", "/v1/messages", content=body), 400, "invalid_payload")


@pytest.mark.parametrize("key", ["", "x" * 61, "a b", "\N{LATIN SMALL LETTER E WITH ACUTE}".encode()])
async def test_an_idempotency_key_that_is_none_is_a_problem(
    backend: Backend, pair: Pair, key: str | bytes
) -> None:
    answer = await backend.call("POST", "/v1/messages", json=message(pair), headers={"Idempotency-Key": key})
    assert is_problem(answer, 400, "invalid_payload")


async def test_too_many_messages_are_a_problem(backend: Backend, pair: Pair) -> None:
    answer = await backend.send({"messages": [message(pair)] * 101})
    assert is_problem(answer, 400, "invalid_payload")


async def test_the_chats_of_a_user_come_in_pages(backend: Backend, pair: Pair) -> None:
    alice, _ = pair
    assert (await backend.send(message(pair))).status_code == 201
    to_self = {**message(pair, "to myself"), "to": user_id_of(alice.username)}
    assert (await backend.send(to_self)).status_code == 201
    path = f"/v1/users/{user_id_of(alice.username)}/chats"
    first = (await backend.call("GET", path, params={"limit": 1})).json()
    second = (await backend.call("GET", path, params={"cursor": first["nextCursor"]})).json()
    assert [one["lastMessage"]["text"] for one in (*first["chats"], *second["chats"])] == [
        "to myself",
        "hello",
    ]
    assert second["nextCursor"] is None
    assert is_problem(await backend.call("GET", path, params={"box": "attic"}), 400, "invalid_payload")
    assert is_problem(await backend.call("GET", path, params={"limit": "x"}), 400, "invalid_payload")


async def test_a_chat_is_read_in_pages_as_a_member_sees_it(backend: Backend, pair: Pair) -> None:
    many = {"messages": [message(pair, f"message {number}") for number in range(1, 6)]}
    sent = (await backend.send(many)).json()["results"][0]["message"]
    bob = user_id_of(pair[1].username)
    path = f"/v1/users/{bob}/chats/{sent['chatId']}/messages"
    page = (await backend.call("GET", path, params={"before": 5, "limit": 2})).json()
    assert ([one["seq"] for one in page["messages"]], page["hasMore"]) == ([3, 4], True)
    newest = (await backend.call("GET", path)).json()
    assert [one["seq"] for one in newest["messages"]] == [1, 2, 3, 4, 5]
    stranger = f"/v1/users/{uuid.uuid4()}/chats/{sent['chatId']}/messages"
    assert is_problem(await backend.call("GET", stranger), 403, "not_a_member")
    nowhere = f"/v1/users/{bob}/chats/{uuid.uuid4()}/messages"
    assert is_problem(await backend.call("GET", nowhere), 404, "chat_not_found")


async def test_a_user_is_made_and_named_over_http(backend: Backend, pair: Pair, name: Name) -> None:
    path, new_name = f"/v1/users/{uuid.uuid4()}", name("carol")
    made = await backend.call("PUT", path, json={"username": new_name})
    assert (made.status_code, made.json()["user"]["username"]) == (200, new_name)
    assert (await backend.call("GET", path)).json() == made.json()
    assert (await pair[0].send(new_name, "hello"))["success"]
    taken = await backend.call("PUT", path, json={"username": pair[0].username})
    assert is_problem(taken, 409, "username_taken")
    unknown = await backend.call("GET", f"/v1/users/{uuid.uuid4()}")
    assert is_problem(unknown, 404, "user_not_found")
    assert is_problem(await backend.call("PUT", path, json={}), 400, "invalid_payload")


async def test_peers_see_what_a_user_is_called_and_looks_like(
    backend: Backend, pair: Pair, name: Name
) -> None:
    alice, bob = pair
    path = f"/v1/users/{user_id_of(alice.username)}"
    known = {"name": "Alice Ångström", "avatarUrl": "https://example.com/a.png", "data": {"team": "red"}}
    put = await backend.call("PUT", path, json={"username": alice.username, **known})
    assert put.status_code == 200
    assert known.items() <= put.json()["user"].items()
    assert (await backend.call("GET", path)).json() == put.json()
    joined = await bob.call("join_chat", {"username": alice.username})
    assert known.items() <= joined["peer"].items()
    without = await backend.call("PUT", path, json={"username": alice.username, "name": None})
    assert "name" not in without.json()["user"]
    (chat,) = (await bob.call("list_chats", {}))["chats"]
    peer = chat["peer"]
    assert (peer.get("name"), peer["avatarUrl"]) == (None, known["avatarUrl"])
    refused: list[dict[str, Any]] = [{"name": "a\nb"}, {"avatarUrl": "javascript:alert(1)"}, {"data": []}]
    for broken in refused:
        answer = await backend.call("PUT", path, json={"username": alice.username, **broken})
        assert is_problem(answer, 400, "invalid_payload")


async def test_a_user_is_blocked_and_unblocked_for_another(
    backend: Backend, pair: Pair, two_edges: Deployment
) -> None:
    alice, bob = (user_id_of(user.username) for user in pair)
    blocks = f"/v1/users/{bob}/blocks"
    for _ in range(2):
        blocked = await backend.call("PUT", f"{blocks}/{alice}")
        assert blocked.status_code == 200
        assert (blocked.json()["userId"], blocked.json()["blocked"]) == (alice, True)
    await pair[1].expect("chat_changed", lambda one: one["blocked"])
    assert (await pair[0].send(pair[1].username, "hello"))["code"] == "not_allowed"
    page = (await backend.call("GET", blocks, params={"limit": 1})).json()
    assert ([one["userId"] for one in page["users"]], page["nextCursor"]) == ([alice], None)
    assert (await backend.call("GET", f"/v1/users/{alice}/blocks")).json()["users"] == []
    freed = await backend.call("DELETE", f"{blocks}/{alice}")
    assert (freed.status_code, freed.json()["blocked"]) == (200, False)
    assert (await backend.call("GET", blocks)).json()["users"] == []
    assert (await pair[0].send(pair[1].username, "hello"))["success"]


async def test_a_block_that_cannot_be_is_a_problem(backend: Backend, pair: Pair) -> None:
    alice, nobody = user_id_of(pair[0].username), uuid.uuid4()
    assert is_problem(await backend.call("PUT", f"/v1/users/{alice}/blocks/{alice}"), 403, "not_allowed")
    assert is_problem(await backend.call("PUT", f"/v1/users/{alice}/blocks/{nobody}"), 404, "user_not_found")
    assert is_problem(await backend.call("PUT", f"/v1/users/{nobody}/blocks/{alice}"), 409, "profile_missing")
    assert is_problem(await backend.call("PUT", f"/v1/users/{alice}/blocks/x"), 400, "invalid_payload")
    wrong = await backend.call("GET", f"/v1/users/{alice}/blocks", params={"cursor": "x"})
    assert is_problem(wrong, 400, "invalid_payload")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_blocks_need_the_scope_moderate(api_edge: Edge, method: str) -> None:
    reader = Backend(api_edge, READ_KEY)
    path = f"/v1/users/{uuid.uuid4()}/blocks"
    assert is_problem(await reader.call("GET", path), 403, "not_allowed")
    assert is_problem(await reader.call(method, f"{path}/{uuid.uuid4()}"), 403, "not_allowed")


async def test_a_report_is_listed_read_and_closed(
    backend: Backend, pair: Pair, two_edges: Deployment
) -> None:
    sent = (await backend.send({"messages": [message(pair, "hello"), message(pair, "rude")]})).json()
    rude = sent["results"][1]["message"]
    asked = {"chatId": rude["chatId"], "seq": rude["seq"], "reason": "abuse", "note": "again"}
    report_id = (await pair[1].call("report", asked))["reportId"]

    listed = await reports(backend)
    (head,) = [one for one in listed if one["reportId"] == report_id]
    alice, bob = (user_id_of(user.username) for user in pair)
    assert (head["reportedId"], head["reporterId"], head["seq"]) == (alice, bob, rude["seq"])
    assert (head["reason"], head["closedAt"]) == ("abuse", None)
    assert not head.keys() & {"note", "messages"}

    path = f"/v1/reports/{report_id}"
    whole = (await backend.call("GET", path)).json()["report"]
    assert whole == {**head, "note": "again", "messages": whole["messages"]}
    assert [one["text"] for one in whole["messages"]] == ["hello", "rude"]

    closed = await backend.call("POST", f"{path}/close")
    assert closed.status_code == 200
    assert closed.json()["report"] == {**head, "closedAt": closed.json()["report"]["closedAt"]}
    assert closed.json()["report"]["closedAt"]
    assert (await backend.call("POST", f"{path}/close")).json() == closed.json()
    assert report_id not in [one["reportId"] for one in await reports(backend)]
    assert closed.json()["report"] in await reports(backend, withClosed=True)


async def reports(backend: Backend, **params: Any) -> list[Any]:
    """Return all reports that are listed, in pages of one."""
    found: list[Any] = []
    while True:
        page = (await backend.call("GET", "/v1/reports", params={"limit": 1, **params})).json()
        found += page["reports"]
        if page["nextCursor"] is None:
            return found
        params["cursor"] = page["nextCursor"]


async def test_a_report_that_does_not_exist_is_a_problem(backend: Backend) -> None:
    path = f"/v1/reports/{uuid.uuid4()}"
    assert is_problem(await backend.call("GET", path), 404, "report_not_found")
    assert is_problem(await backend.call("POST", f"{path}/close"), 404, "report_not_found")
    assert is_problem(await backend.call("GET", "/v1/reports/x"), 400, "invalid_payload")
    for params in ({"cursor": "x"}, {"limit": "x"}, {"withClosed": "x"}):
        assert is_problem(await backend.call("GET", "/v1/reports", params=params), 400, "invalid_payload")


async def test_reports_need_the_scope_moderate(api_edge: Edge) -> None:
    reader, path = Backend(api_edge, READ_KEY), f"/v1/reports/{uuid.uuid4()}"
    for method, one in (("GET", "/v1/reports"), ("GET", path), ("POST", f"{path}/close")):
        assert is_problem(await reader.call(method, one), 403, "not_allowed")


async def test_a_message_is_revised_and_removed_and_both_users_see_it(backend: Backend, pair: Pair) -> None:
    sent = (await backend.send(message(pair, "rude", data={"a": 1}))).json()["message"]
    path = f"/v1/chats/{sent['chatId']}/messages/{sent['seq']}"
    revised = await backend.call("PATCH", path, json={"text": "[masked]", "ignored": True})
    assert revised.status_code == 200
    assert (revised.json()["message"]["text"], revised.json()["message"]["data"]) == ("[masked]", {"a": 1})
    removed = await backend.call("DELETE", path)
    assert (removed.status_code, removed.json()["message"]["text"]) == (200, "")
    again = (await backend.call("DELETE", path)).json()["message"]
    assert (again["change"], again["deletedAt"]) == (2, removed.json()["message"]["deletedAt"])
    for user in pair:
        await user.expect("message_changed", lambda one: one == revised.json()["message"])
        await user.expect("message_changed", lambda one: one == removed.json()["message"])
    assert is_problem(await backend.call("PATCH", path, json={"text": "back"}), 403, "not_allowed")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/v1/chats/{NOBODY}/messages/1", 404, "chat_not_found"),
        ("/v1/chats/nothing/messages/1", 400, "invalid_payload"),
        (f"/v1/chats/{NOBODY}/messages/-1", 400, "invalid_payload"),
        (f"/v1/chats/{NOBODY}/messages/{2**63}", 400, "invalid_payload"),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_what_does_not_exist_is_neither_revised_nor_removed(
    backend: Backend, method: str, path: str, status: int, code: str
) -> None:
    options = {"json": {"text": "x"}} if method == "PATCH" else {}
    assert is_problem(await backend.call(method, path, **options), status, code)


@pytest.mark.parametrize("body", [{}, {"text": 1}, {"text": "x", "data": []}, [], {"text": "x" * 70_000}])
async def test_a_revision_that_says_nothing_valid_is_a_problem(backend: Backend, body: Any) -> None:
    answer = await backend.call("PATCH", f"/v1/chats/{uuid.uuid4()}/messages/1", json=body)
    too_large = len(answer.request.content) > 65_536
    assert is_problem(answer, *((413, "payload_too_large") if too_large else (400, "invalid_payload")))


@pytest.mark.parametrize(
    "key",
    ["x", "bbk_wrong", KEY[:-1], f"{KEY}x", "sb_secret_abcdefghijklmnopqrstuvwxyz", "é"],
    ids=["short", "wrong", "one character less", "one character more", "key of Supabase", "not ASCII"],
)
async def test_an_unknown_key_is_refused(api_edge: Edge, key: str) -> None:
    answer = await Backend(api_edge).call(
        "POST", "/v1/messages", headers={"Authorization": f"Bearer {key}".encode()}
    )
    assert is_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["connection"] == "close"
    assert "key" not in api_edge.log


async def test_the_access_token_of_a_user_is_no_key(
    api_edge: Edge, client: ClientFactory, name: Name
) -> None:
    assert is_problem(
        await Backend(api_edge, make_token(name("alice"))).call("GET", "/v1/x"), 401, "unauthorized"
    )


async def test_a_key_is_good_for_its_scopes_only(api_edge: Edge, pair: Pair, two_edges: Deployment) -> None:
    reader = Backend(api_edge, READ_KEY)
    assert is_problem(await reader.send(message(pair)), 403, "not_allowed")
    path = f"/v1/users/{user_id_of(pair[0].username)}/chats"
    assert (await reader.call("GET", path)).status_code == 200
    removing = await reader.call("DELETE", f"/v1/chats/{uuid.uuid4()}/messages/1")
    assert is_problem(removing, 403, "not_allowed")
    assert stored(two_edges, pair) == []


async def test_other_paths_and_methods_do_not_exist(backend: Backend) -> None:
    assert is_problem(await backend.call("GET", "/v1/nothing"), 404, "unknown_event")
    answer = await backend.call("DELETE", "/v1/messages")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


async def test_without_keys_there_is_no_server_api(edge: Edge) -> None:
    answer = await Backend(edge).call("POST", "/v1/messages")
    assert (answer.status_code, answer.text) == (404, "Not Found")


async def test_a_backend_is_limited_and_told_when_to_come_back(two_edges: Deployment, pair: Pair) -> None:
    edge = two_edges.start_edge(api_keys=API_KEYS, rate_api=0.01, rate_api_burst=3)
    try:
        backend = Backend(edge)
        # One call, and two more for the other messages.
        assert (await backend.send({"messages": [message(pair)] * 3})).status_code == 200
        refused = await backend.send(message(pair))
        assert is_problem(refused, 429, "rate_limited")
        assert 0 < refused.json()["retryAfterMs"] <= 100_000
        assert 0 < int(refused.headers["retry-after"]) <= 100
        path = f"/v1/users/{user_id_of(pair[0].username)}/chats"
        assert (await Backend(edge, READ_KEY).call("GET", path)).status_code == 200
    finally:
        edge.stop()
        two_edges.edges.remove(edge)


async def test_what_no_worker_answers_ends_at_the_deadline_and_is_stored_once(
    deploy: DeploymentFactory, name: Name, client: ClientFactory
) -> None:
    chat = deploy(api_keys=API_KEYS, deadline_s=2, redispatch_s=0.5)
    chat.start(edges=1, workers=1, beat=False)
    alice, bob = client(name("alice")), client(name("bob"))
    for user in (alice, bob):
        await user.connect(chat.edges[0])
        await user.call("get_settings", {})
    backend = Backend(chat.edges[0])
    with chat.workers[0].paused():
        assert is_problem(await backend.send(message((alice, bob)), key="once"), 504, "timeout")
    assert (await backend.send(message((alice, bob)), key="once")).status_code == 201
    assert stored(chat, (alice, bob)) == ["hello"]


async def test_an_edge_that_stops_answers_the_calls_that_it_has_taken(
    deploy: DeploymentFactory, name: Name, client: ClientFactory
) -> None:
    chat = deploy(api_keys=API_KEYS, drain_s=0)
    chat.start(edges=1, workers=1, beat=False)
    alice, bob = client(name("alice")), client(name("bob"))
    for user in (alice, bob):
        await user.connect(chat.edges[0])
        await user.call("get_settings", {})
    with chat.workers[0].paused():
        calls = [
            asyncio.create_task(Backend(chat.edges[0]).send(message((alice, bob), str(number))))
            for number in range(5)
        ]
        await _until_queued(chat.edges[0])
        chat.edges[0].process.send_signal(signal.SIGTERM)
    assert [answer.status_code for answer in await asyncio.gather(*calls)] == [201] * 5
    assert len(stored(chat, (alice, bob))) == 5


async def _until_queued(edge: Edge) -> None:
    """Wait until the edge has taken a little while: calls made before another one are taken before it."""
    assert (await Backend(edge).call("GET", "/v1/nothing")).status_code == 404
