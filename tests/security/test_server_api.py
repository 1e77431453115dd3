"""Attacks on the server API: by strangers, by keys of other scopes, and by whatever a backend passes on."""

import asyncio
import itertools
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, Final

import pytest

from infra.settings.api_keys import make_key
from infra.wire.server_api import CALLS, SEND_MESSAGES, Scope
from tests.conftest import Name
from tests.harness.deployment import Deployment, Edge, make_token, user_id_of, with_profile
from tests.harness.raw import RawClient, event
from tests.harness.server_api import API_KEYS, KEY, Backend, is_problem
from tests.harness.waiting import PATIENCE_S
from tests.security.conftest import Besiege
from tests.security.tcp import Tcp

pytestmark = pytest.mark.alone

MB: Final = 1_000_000
AT_ONCE: Final = 50
SOME_ID: Final = str(uuid.uuid4())
BY_SCOPE: Final = {scope: make_key(scope, [scope]) for scope in Scope}


@pytest.fixture(scope="module")
def api(target: Deployment) -> Iterator[Edge]:
    """Another edge of the target, with API keys: one with all scopes, and one with each."""
    known = (str(entry) for _, entry in BY_SCOPE.values())
    edge = target.start_edge(api_keys=",".join((API_KEYS, *known)))
    yield edge
    edge.stop()
    target.edges.remove(edge)


@pytest.fixture
def users(target: Deployment, name: Name) -> tuple[str, str]:
    """Return the ids of two users, who are none of the bystanders."""
    carol, dave = (user_id_of(with_profile(target, name(who))) for who in ("carol", "dave"))
    return carol, dave


def request(
    method: str = "POST", path: str = "/v1/messages", body: bytes = b"{}", headers: Sequence[str] = ()
) -> bytes:
    """Return a request; it has a key only if the headers say so."""
    lines = [f"{method} {path} HTTP/1.1", "Host: edge", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def with_key(key: str = KEY) -> str:
    return f"Authorization: Bearer {key}"


def stored(target: Deployment, sender: str) -> list[str]:
    """Return the texts of a user, in order."""
    rows = target.rows("SELECT text FROM messages WHERE sender_id = :id ORDER BY seq", id=sender)
    return [row.text for row in rows]


STRANGERS: Final = {
    "none": (),
    "near misses": (with_key(KEY[:-1]), ""),
    "longer": (with_key(f"{KEY}x"), ""),
    "in Basic": (f"Authorization: Basic {KEY}", ""),
    "without a scheme": (f"Authorization: {KEY}", ""),
    "a user's token": (with_key(make_token("mallory")), ""),
    "a Supabase key": (with_key("sb_secret_abcdefghijklmnopqrstuvwxyz"), f"apikey: {KEY}"),
    "in a cookie": (f"Cookie: key={KEY}", ""),
    "60 kB": (with_key("x" * 60_000), ""),
    "not ASCII": (with_key("\xe9" * 40), ""),
    "a hash": (with_key(sha256(KEY.encode()).hexdigest()), ""),
}


async def test_a_flood_of_wrong_keys(api: Edge, besiege: Besiege) -> None:
    paths = ("/v1/messages", f"/v1/messages?key={KEY}", f"/v1/messages?access_token={KEY}", "/v1/nothing")
    headers = [[line for line in one if line] for one in STRANGERS.values()]
    requests = [request(path=path, headers=lines) for path in paths for lines in headers] * AT_ONCE
    read = len(api.log)
    async with besiege(
        edge=api,
        attack="wrong API keys as a flood",
        sent=f"{len(requests):,} calls, {AT_ONCE} at a time: {len(STRANGERS)} kinds of keys, also in URLs",
        outcome="each is HTTP 401 and closed; no key is logged",
        bound_mb=60,
    ):
        many = [requests[start::AT_ONCE] for start in range(AT_ONCE)]
        statuses = Counter(
            status for some in await asyncio.gather(*(ask_each(api, one) for one in many)) for status in some
        )
    assert statuses == {b"401": len(requests)}
    assert KEY not in api.log[read:]


async def ask_each(edge: Edge, requests: Sequence[bytes]) -> list[bytes]:
    """Make each request on a connection of its own, which must close; return the statuses."""
    return [await status_of(edge, one) for one in requests]


async def status_of(edge: Edge, data: bytes) -> bytes:
    async with Tcp(edge) as tcp:
        await tcp.send(data)
        return (await tcp.closed()).split()[1]


async def test_keys_beyond_their_scopes(
    api: Edge, target: Deployment, besiege: Besiege, users: tuple[str, str]
) -> None:
    carol, dave = users
    message = {"from": carol, "to": dave, "text": "hi"}
    sent = (await Backend(api).send(message)).json()["message"]
    ids = {"userId": carol, "otherId": dave, "chatId": sent["chatId"], "seq": "1", "reportId": SOME_ID}
    beyond = [
        (scope, call) for scope, call in itertools.product(Scope, CALLS.values()) if scope is not call.scope
    ]
    async with besiege(
        edge=api,
        attack="API keys used beyond their scopes",
        sent=f"{10 * len(beyond)} calls: each call with the key of each other scope",
        outcome="each is `not_allowed`, and nothing changes",
        bound_mb=20,
    ):
        for scope, call in beyond * 10:
            path = re.sub(r"\{(\w+)\}", lambda field: ids[field[1]], call.path)
            body = message if call.name == SEND_MESSAGES else {"username": "mallory", "text": "mallory"}
            answer = await Backend(api, BY_SCOPE[scope][0]).call(call.method, path, json=body)
            assert is_problem(answer, 403, "not_allowed")
    assert stored(target, carol) == ["hi"]
    (profile,) = target.rows("SELECT username FROM profiles WHERE id = :id", id=carol)
    assert profile.username.startswith("carol")
    assert target.rows("SELECT FROM chats WHERE lo_blocked_at IS NOT NULL OR hi_blocked_at IS NOT NULL") == []


async def test_large_slow_and_nested_bodies(
    api: Edge, target: Deployment, besiege: Besiege, users: tuple[str, str]
) -> None:
    carol, dave = users
    message = {"from": carol, "to": dave, "text": "x" * 60_000}
    bodies = {
        b"413": [b"x" * 10 * MB, json.dumps({"messages": [message] * 100}).encode()],
        b"400": [
            b'{"data":' * 120_000,
            b"[" * (MB - 1),
            b'{"messages":[' + b"{}," * 300_000 + b"{}]}",
            b'{"text":"' + b"\\" * (MB - 100),
            b'{"from":' + b"9" * (MB - 100) + b"}",
        ],
    }
    async with besiege(
        edge=api,
        attack="large, slow and nested bodies of calls",
        sent="35 of 1 to 10 MB; 20 byte by byte, 5 endless",
        outcome="HTTP 400 or 413; unfinished ones are closed after `CONNECT_S`",
        bound_mb=60,
    ):
        for status, some in bodies.items():
            for body in some * 5:
                answer = await Backend(api).call("POST", "/v1/messages", content=body)
                assert str(answer.status_code).encode() == status, (body[:20], answer.text)
        await asyncio.gather(*(drip(api) for _ in range(20)), *(pour(api) for _ in range(5)))
    assert stored(target, carol) == []


async def drip(edge: Edge) -> None:
    """Send a body byte by byte until the connection closes."""
    async with Tcp(edge) as tcp:
        await tcp.send(request(headers=[with_key()], body=b"x" * 1_000)[:-1_000])
        ended = asyncio.create_task(tcp.closed())
        async with asyncio.timeout(PATIENCE_S):
            while not ended.done():
                await tcp.send(b"x")
                await asyncio.sleep(0.05)
        assert await ended == b""


async def pour(edge: Edge) -> None:
    """Send a body in chunks that never end: it is refused at the limit, and then closed."""
    head = f"POST /v1/messages HTTP/1.1\r\nHost: edge\r\n{with_key()}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    async with Tcp(edge) as tcp:
        await tcp.send(head.encode())
        ended = asyncio.create_task(tcp.closed())
        async with asyncio.timeout(PATIENCE_S):
            while not ended.done():
                await tcp.send(chunk)
                await asyncio.sleep(0.01)
        assert (await ended).startswith(b"HTTP/1.1 413 ")


async def test_games_with_idempotency_keys(
    api: Edge, target: Deployment, besiege: Besiege, users: tuple[str, str], name: Name
) -> None:
    (carol, dave), backend, erin = users, Backend(api), with_profile(target, name("erin"))
    taken = f"api-{sha256(b'order-1').hexdigest()[:32]}"

    def message(text: str, sender: str = carol) -> dict[str, Any]:
        return {"from": sender, "to": dave, "text": text}

    async with (
        besiege(
            edge=api,
            attack="games with `Idempotency-Key`",
            sent="one 120 times at once, by others, as their `clientId`; 60 that are none",
            outcome="one message, one answer; other senders have their own",
            bound_mb=40,
        ),
        RawClient(api, erin) as raw,
    ):
        # Erin is first: what she chooses binds nobody but her.
        theirs = {"userId": dave, "text": "erin's", "clientId": taken}
        assert (await raw.ask(event("send_message", theirs)))["success"]
        calls = [{**message(f"text {number}"), "to": (dave, carol)[number % 2]} for number in range(100)]
        answers = await asyncio.gather(*(backend.send(one, "order-1") for one in calls))
        assert {answer.status_code for answer in answers} == {201}
        ids = {answer.json()["message"]["id"] for answer in answers}
        assert len(ids) == 1
        other = (await backend.send(message("erin's", user_id_of(erin)), "order-1")).json()["message"]
        assert other["clientId"] == taken
        assert other["id"] not in ids
        # A key of a list is another one than that of a single message, whatever is tried.
        many = await asyncio.gather(*(backend.send({"messages": [calls[0]]}, "order-1") for _ in range(20)))
        listed = {answer.json()["results"][0]["message"]["id"] for answer in many}
        assert len(listed) == 1
        assert listed.isdisjoint(ids)
        for key in ("", "order-1 0", "\N{NO-BREAK SPACE}", "x" * 61, "a b", "\xe9") * 10:
            header = {"Idempotency-Key": key.encode("latin-1")}
            answer = await backend.call("POST", "/v1/messages", json=message("none"), headers=header)
            assert is_problem(answer, 400, "invalid_payload")
    assert len(stored(target, carol)) == 2
    assert stored(target, user_id_of(erin)) == ["erin's"]


async def test_acting_as_users_that_do_not_exist(
    api: Edge, target: Deployment, besiege: Besiege, users: tuple[str, str]
) -> None:
    (carol, dave), backend = users, Backend(api)
    nobody, stranger = str(uuid.UUID(int=0)), str(uuid.uuid4())
    target.rows("UPDATE profiles SET deleted_at = now() WHERE id = :id", id=dave)
    refused = {
        "profile_missing": [(nobody, carol), (stranger, carol), (dave, carol)],
        "user_not_found": [(carol, nobody), (carol, stranger), (carol, dave)],
        "invalid_payload": [("mallory", carol), ("", carol), (f"{carol}\0", carol), ("'; --", carol)],
    }
    pairs = [(code, pair) for code, some in refused.items() for pair in some]
    async with besiege(
        edge=api,
        attack="calls as users that do not exist",
        sent=f"{40 * len(pairs)} messages from and to nobody, strangers, deleted users and no ids",
        outcome="each has a code of its own; nothing is stored",
        bound_mb=20,
    ):
        for code, (sender, recipient) in pairs:
            many = [{"from": sender, "to": recipient, "text": "boo"}] * 40
            answer = await backend.send({"messages": many})
            if code == "invalid_payload":
                assert is_problem(answer, 400, code)
            else:
                found = [one["problem"]["code"] for one in answer.json()["results"]]
                assert set(found) == {code}, (sender, recipient)
    assert target.rows("SELECT FROM messages WHERE text = 'boo'") == []
    assert target.rows("SELECT FROM profiles WHERE id IN (:one, :other)", one=nobody, other=stranger) == []


async def test_tricks_with_paths_and_methods(
    api: Edge, target: Deployment, besiege: Besiege, users: tuple[str, str]
) -> None:
    (carol, dave), backend = users, Backend(api)
    sent = (await backend.send({"from": carol, "to": dave, "text": "hi"})).json()["message"]
    message = f"/v1/chats/{sent['chatId']}/messages/1"
    paths = [
        *("/v1", "/v1/", "/V1/messages", "//v1/messages", "/v1//messages", "/v1/messages/", "/v1/messages;x"),
        *("/v1/../v1/messages", "/v1/%2e%2e/v1/messages", "/v1/messages%00", "/v1/messages%0d%0aX:%20y"),
        *(f"/v1/users/{carol}%2Fchats", f"/v1/users/{carol}/../{dave}", f"/v1/users/{carol}/chats/"),
        *(f"{message}%20", f"{message}%2f..%2f1", f"{message}.5", "/v1/" + "a/" * 20_000),
    ]
    methods = ["OPTIONS", "HEAD", "TRACE", "PROPFIND", "post", "DELETE"]
    tries = [("DELETE", path) for path in paths] + [(method, "/v1/messages") for method in methods]
    override = ["X-HTTP-Method-Override: DELETE", "X-Original-URL: /v1/reports", with_key()]
    tries_of_override = request("GET", message, b"", override)
    async with besiege(
        edge=api,
        attack="tricks with paths and methods",
        sent=f"{20 * (len(tries) + 1)} calls: dots, escapes, slashes, other cases, overrides, 40 kB",
        outcome="each is HTTP 400, 404 or 405; nothing changes",
        bound_mb=30,
    ):
        for data in [request(*one, b"", [with_key()]) for one in tries * 20] + 20 * [tries_of_override]:
            async with Tcp(api) as tcp:
                await tcp.send(data)
                status = (await tcp.receive()).split()[1]
                assert status in {b"400", b"404", b"405"}, data[:100]
    assert stored(target, carol) == ["hi"]


SMUGGLED: Final = {
    "two lengths": ["Content-Length: 0", "Content-Length: {size}"],
    "a length and chunks": ["Content-Length: {size}", "Transfer-Encoding: chunked"],
    "chunks and a length": ["Transfer-Encoding: chunked", "Content-Length: {size}"],
    "a wrong length": ["Content-Length: +{size}"],
    "a list of lengths": ["Content-Length: 0, {size}"],
    "chunks in disguise": ["Transfer-Encoding: xchunked"],
    "a space before the colon": ["Content-Length : {size}"],
    "a folded line": ["X-Header: x", " Content-Length: {size}"],
    "a bare line feed": ["X-Header: x\nContent-Length: 0\nX: "],
}


async def test_smuggled_requests(
    api: Edge, target: Deployment, besiege: Besiege, users: tuple[str, str]
) -> None:
    carol, dave = users
    body = json.dumps({"from": carol, "to": dave, "text": "smuggled"}).encode()
    hidden = b"0\r\n\r\n" + request(headers=[with_key()], body=body)
    async with besiege(
        edge=api,
        attack="smuggled requests",
        sent=f"{20 * len(SMUGGLED)} calls that hide one with a key, by lengths, chunks, folded lines",
        outcome="each is answered once and closed",
        bound_mb=20,
    ):
        for lines in 20 * list(SMUGGLED.values()):
            head = "\r\n".join(["POST /v1/messages HTTP/1.1", "Host: edge", *lines]).format(size=len(hidden))
            async with Tcp(api) as tcp:
                await tcp.send(head.encode() + b"\r\n\r\n" + hidden)
                answer = await tcp.closed()
                assert answer.count(b"HTTP/1.1 ") <= 1, answer
                assert not answer or answer.split()[1] in {b"400", b"401"}, answer
    assert stored(target, carol) == []
