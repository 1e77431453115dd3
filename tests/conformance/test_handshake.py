"""Opening a connection and signing in on it."""

import json
from typing import Any

import httpx
import pytest

from tests.conformance.connections import (
    Closed,
    Connection,
    Message,
    Polling,
    Websocket,
    open_websocket,
    read_message,
)
from tests.conformance.servers import Server
from tests.conftest import Name

Transport = type[Polling] | type[Websocket]


async def get(server: Server, query: str, method: str = "GET", **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        return await http.request(method, f"{server.url}/socket.io/?{query}", headers=headers)


@pytest.mark.parametrize(("upgrades", "opened"), [(["websocket"], Polling), ([], Websocket)])
async def test_the_server_opens_with_its_terms(
    server: Server, upgrades: list[str], opened: Transport
) -> None:
    async with opened(server) as connection:
        sid = connection.handshake["sid"]
        assert connection.handshake == {
            "sid": sid,
            "upgrades": upgrades,
            "pingInterval": 25_000,
            "pingTimeout": 20_000,
            "maxPayload": 1_000_000,
        }
        assert len(connection.packets) == 1


async def test_every_connection_has_an_id_of_its_own(server: Server, transport: Transport) -> None:
    async with transport(server) as one, transport(server) as other:
        assert one.handshake["sid"] != other.handshake["sid"]
        assert len(one.handshake["sid"]) >= 20


async def test_a_poll_is_plain_text_for_every_origin(server: Server) -> None:
    answer = await get(server, "EIO=4&transport=polling", origin="https://app.example")
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-credentials"] == "true"


async def test_a_preflight_request_is_allowed(server: Server) -> None:
    answer = await get(server, "EIO=4&transport=polling", "OPTIONS", origin="https://app.example")
    assert (answer.status_code, answer.text) == (200, server.expected(edge="ok", stock="OK"))
    assert "POST" in answer.headers["access-control-allow-methods"]


REFUSED = {
    "an old protocol": ("EIO=3&transport=polling", 400),
    "a future protocol": ("EIO=5&transport=polling", 400),
    "no protocol": ("transport=polling", 400),
    "an unknown transport": ("EIO=4&transport=webtransport", 400),
    "an unknown sid": ("EIO=4&transport=polling&sid=nobody", 400),
    "a websocket without its headers": ("EIO=4&transport=websocket", 400),
}


@pytest.mark.parametrize(("query", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_request_that_cannot_be_served_is_refused(server: Server, query: str, status: int) -> None:
    assert (await get(server, query)).status_code == status


async def test_a_post_to_no_connection_is_refused(server: Server) -> None:
    assert (await get(server, "EIO=4&transport=polling", "POST")).status_code == 400
    assert (await get(server, "EIO=4&transport=polling&sid=nobody", "POST")).status_code == 400


async def test_an_unknown_method_is_refused(server: Server) -> None:
    answer = await get(server, "EIO=4&transport=polling", "PUT")
    assert answer.status_code == server.expected(edge=400, stock=405)


@pytest.mark.parametrize(
    "query", ["EIO=3&transport=websocket", "EIO=4&transport=nothing", "EIO=4&transport=websocket&sid=nobody"]
)
async def test_a_websocket_that_cannot_be_served_is_refused(server: Server, query: str) -> None:
    with pytest.raises(Closed) as refusal:
        await open_websocket(server, query)
    # Stock rejects the websocket; the edge answers why.
    assert refusal.value.code == server.expected(edge=400, stock=403)


async def test_signing_in_gives_another_id_and_then_the_welcome(
    server: Server, transport: Transport, name: Name
) -> None:
    async with transport(server) as connection:
        await connection.sign_in(name("alice"))
        connected, *welcome = connection.messages[:3]
        sid = connected.data["sid"]
        assert connected == Message("0", None, None, {"sid": sid})
        assert sid != connection.handshake["sid"]
        assert [(m.kind, m.data[0]) for m in welcome] == [("2", "connection_success"), ("2", "test_message")]


NO_TOKENS = ["", "{}", '{"token":null}', '{"token":"nonsense"}']


@pytest.mark.parametrize("auth", NO_TOKENS, ids=[auth or "none" for auth in NO_TOKENS])
async def test_a_client_without_a_token_is_refused_and_may_try_again(
    server: Server, transport: Transport, name: Name, auth: str
) -> None:
    async with transport(server) as connection:
        await connection.send(f"40{auth}")
        refusal = read_message(await connection.expect("44"))
        assert set(refusal.data) == {"message", "data"}
        assert refusal.data["data"]["code"] == "unauthorized"
        await connection.sign_in(name("alice"))
        await connection.assert_alive()


async def test_an_event_sent_right_after_the_sign_in_is_handled(
    server: Server, transport: Transport, name: Name
) -> None:
    async with transport(server) as connection:
        await connection.send(f"40{json.dumps(server.auth(name('alice')))}", '421["list_chats",{}]')
        assert (await connection.answer(1))["success"]


@pytest.mark.parametrize("again", ["a good token", "no good token"])
async def test_signing_in_again_changes_nothing(
    server: Server, transport: Transport, name: Name, again: str
) -> None:
    async with transport(server) as connection:
        await connection.sign_in(name("alice"))
        auth = server.auth(name("bob")) if again == "a good token" else {"token": "nonsense"}
        await connection.send(f"40{json.dumps(auth)}")
        await connection.assert_alive()
        assert len(connection.starting("40")) == len(greeting(connection)) == 1
        # Stock refuses it, so that a client believes the connection ended, although it goes on.
        refusals = server.expected(edge=[], stock=['44"Unable to connect"'])
        assert connection.starting("44") == refusals


def greeting(connection: Connection) -> Any:
    return connection.events("connection_success")


async def test_two_connections_of_one_user_do_not_disturb_each_other(
    server: Server, transport: Transport, name: Name
) -> None:
    async with transport(server) as one, transport(server) as other:
        await one.sign_in(name("alice"))
        await other.sign_in(name("alice"))
        await one.assert_alive()
        await other.assert_alive()
        assert greeting(one)[0]["userId"] == greeting(other)[0]["userId"]
