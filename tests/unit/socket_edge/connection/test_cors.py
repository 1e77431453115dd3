"""Browsers let every page read every answer, and pages of allowed origins send cookies along."""

import asyncio
import json

import httpx
import pytest

from socket_edge.limits.token_bucket import TokenBucket
from tests.unit.socket_edge.connection.serving import Served, serve

APP = "https://app.example"
FOREIGN = "https://evil.example"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-app"}
POLL = "/socket.io/?EIO=4&transport=polling"

Headers = dict[str, str]


async def ask(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    origin: str,
    body: bytes = b"",
    headers: Headers | None = None,
) -> httpx.Response:
    return await http.request(method, path, headers={"Origin": origin, **(headers or {})}, content=body)


def may_read(answer: httpx.Response, origin: str, *, credentials: bool) -> None:
    assert answer.headers.get_list("access-control-allow-origin") == [origin], answer
    assert answer.headers.get_list("access-control-allow-credentials") == ["true"] * credentials, answer
    assert answer.headers.get_list("vary") == ["Origin"]


async def conversation(served: Served, http: httpx.AsyncClient, origin: str) -> dict[str, httpx.Response]:
    """Connect, be refused in every way, and return all answers."""
    opened = await ask(http, "GET", POLL, origin)
    sid = f"{POLL}&sid={json.loads(opened.text[1:])['sid']}"
    answers = {
        "handshake": opened,
        "sign-in": await ask(http, "POST", sid, origin, b'40{"token":"alice"}'),
        "poll": await ask(http, "GET", sid, origin),
        "preflight": await ask(http, "OPTIONS", sid, origin, headers=ASKED),
        "unknown connection": await ask(http, "GET", f"{POLL}&sid=nobody", origin),
        "old protocol": await ask(http, "GET", "/socket.io/?EIO=3&transport=polling", origin),
        "another method": await ask(http, "DELETE", POLL, origin),
        "no websocket": await ask(http, "POST", sid, origin, b"2", {"Upgrade": "websocket"}),
        "large body": await ask(http, "POST", f"{POLL}&sid=nobody", origin, b"x" * 200_000),
    }
    assert served.handler.signed_in_as
    return answers


async def test_every_answer_can_be_read_and_allowed_origins_may_send_cookies() -> None:
    async with (
        serve(origins=(APP,)) as served,
        httpx.AsyncClient(base_url=served.address.url, verify=False) as http,
    ):
        for origin in (APP, f"{APP}:443", FOREIGN, "null", "http://[", served.address.url):
            for name, answer in (await conversation(served, http, origin)).items():
                allowed = origin not in {FOREIGN, "null", "http://["}
                if name == "preflight":
                    assert "POST" in answer.headers["access-control-allow-methods"]
                    assert answer.headers["access-control-allow-headers"] == "x-app"
                may_read(answer, origin, credentials=allowed)


async def test_an_address_with_too_many_connections_is_told_so() -> None:
    once = TokenBucket(0.001, 1)
    async with (
        serve(origins=(APP,), connects=once) as served,
        httpx.AsyncClient(base_url=served.address.url, verify=False) as http,
    ):
        await ask(http, "GET", POLL, APP)
        for origin, allowed in ((APP, True), (FOREIGN, False)):
            answer = await ask(http, "GET", POLL, origin)
            assert answer.status_code == 429
            may_read(answer, origin, credentials=allowed)


@pytest.mark.parametrize("origin", [FOREIGN, "null"])
async def test_with_a_star_every_origin_is_allowed(origin: str) -> None:
    async with (
        serve(origins=("*",)) as served,
        httpx.AsyncClient(base_url=served.address.url, verify=False) as http,
    ):
        may_read(await ask(http, "GET", POLL, origin), origin, credentials=True)


async def test_a_client_without_an_origin_gets_no_such_headers() -> None:
    async with (
        serve(origins=("*",)) as served,
        httpx.AsyncClient(base_url=served.address.url, verify=False) as http,
    ):
        answer = await http.get(POLL)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["vary"] == "Origin"


async def test_names_are_read_as_utf_8() -> None:
    async with serve(origins=("https://bücher.example",)) as served:
        _, host, port = served.address.url.replace("/", "").split(":")
        for name, allowed in (("bücher".encode(), True), ("bücher".encode("latin-1"), False)):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"GET %b HTTP/1.1\r\nHost: a\r\nOrigin: https://%b.example\r\n" % (POLL.encode(), name)
            )
            writer.write(b"Connection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            assert b"200 OK" in answer
            assert (b"access-control-allow-credentials: true" in answer) is allowed
