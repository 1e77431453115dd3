"""The HTTP side of Engine.IO: which requests are refused, how bodies are framed, and who polls when."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from socket_edge.connection.api import DisconnectReason, State
from socket_edge.connection.bounds import POLL_PACKETS, STRANGER_BYTES
from socket_edge.connection.engineio import EngineConnection
from tests.conformance.connections import Closed, Polling, Websocket, open_websocket
from tests.harness.waiting import PATIENCE_S, until
from tests.unit.socket_edge.connection.serving import CONNECT_S, Person, Served, pass_time, serve

ALICE = Person("alice")
KEEP_ALIVE_S = 5
"""After that long without a request, uvicorn closes a connection."""
SYNC = '42["sync",{}]'

VERSION = (5, "Unsupported protocol version")
TRANSPORT = (0, "Transport unknown")
SESSION = (1, "Session ID unknown")
METHOD = (2, "Bad handshake method")
REQUEST = (3, "Bad request")
FAULTS: dict[str, tuple[str, str, tuple[int, str]]] = {
    "protocol 3": ("GET", "EIO=3&transport=polling", VERSION),
    "protocol 3 with the parameters of its client": ("GET", "EIO=3&transport=polling&t=N&b64=1", VERSION),
    "no protocol": ("GET", "transport=polling", VERSION),
    "protocol 5": ("GET", "EIO=5&transport=polling", VERSION),
    "a protocol of letters": ("GET", "EIO=abc&transport=polling", VERSION),
    "an empty protocol": ("GET", "EIO=&transport=polling", VERSION),
    "a protocol with a zero": ("GET", "EIO=04&transport=polling", VERSION),
    "no transport": ("GET", "EIO=4", TRANSPORT),
    "an unknown transport": ("GET", "EIO=4&transport=abc", TRANSPORT),
    "webtransport": ("GET", "EIO=4&transport=webtransport", TRANSPORT),
    "a transport in capitals": ("GET", "EIO=4&transport=POLLING", TRANSPORT),
    "an empty transport": ("GET", "EIO=4&transport=", TRANSPORT),
    "nothing": ("GET", "", TRANSPORT),
    "no UTF-8": ("GET", "%ff%fe", TRANSPORT),
    "no transport of a connection": ("GET", "EIO=4&sid={sid}", TRANSPORT),
    "an unknown sid": ("GET", "EIO=4&transport=polling&sid=nobody", SESSION),
    "a post to an unknown sid": ("POST", "EIO=4&transport=polling&sid=nobody", SESSION),
    "a post without a sid": ("POST", "EIO=4&transport=polling", METHOD),
    "a put without a sid": ("PUT", "EIO=4&transport=polling", METHOD),
    "a delete without a sid": ("DELETE", "EIO=4&transport=polling", METHOD),
    "a patch without a sid": ("PATCH", "EIO=4&transport=polling", METHOD),
    "a put to a connection": ("PUT", "EIO=4&transport=polling&sid={sid}", REQUEST),
    "a delete of a connection": ("DELETE", "EIO=4&transport=polling&sid={sid}", REQUEST),
    "a websocket without its headers": ("GET", "EIO=4&transport=websocket", REQUEST),
    "an upgrade without its headers": ("GET", "EIO=4&transport=websocket&sid={sid}", REQUEST),
    "a poll of a websocket": ("GET", "EIO=4&transport=polling&sid={websocket}", REQUEST),
    "a post to a websocket": ("POST", "EIO=4&transport=polling&sid={websocket}", REQUEST),
}


@asynccontextmanager
async def polling(served: Served) -> AsyncIterator[tuple[Polling, EngineConnection]]:
    async with served.client("polling") as (client, connection):
        assert isinstance(client, Polling)
        yield client, connection


@pytest.mark.parametrize(("method", "query", "fault"), FAULTS.values(), ids=FAULTS)
async def test_a_request_that_cannot_be_served_is_refused_as_by_a_node_js_server(
    method: str, query: str, fault: tuple[int, str]
) -> None:
    async with serve() as served, polling(served) as (client, connection), served.client() as (other, _):
        address = query.format(sid=client.sid, websocket=other.handshake["sid"])
        url = f"{served.address.url}/socket.io/?{address}"
        answer = await client.http.request(method, url, headers={"Origin": "https://app.example"})
        code, message = fault
        assert (answer.status_code, answer.json()) == (400, {"code": code, "message": message})
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert connection.state is State.SIGNED_IN


@pytest.mark.parametrize(
    "query",
    [
        *("EIO=3&transport=websocket", "transport=websocket", "EIO=4", "EIO=4&transport=polling"),
        *("EIO=4&transport=abc", "EIO=4&transport=websocket&sid=nobody"),
    ],
)
async def test_a_websocket_that_cannot_be_served_is_refused(query: str) -> None:
    async with serve() as served:
        with pytest.raises(Closed) as refused:
            await open_websocket(served.address, query)
        assert refused.value.code == 400


async def test_operators_learn_of_clients_with_another_protocol_in_few_lines() -> None:
    with capture_logs() as logs:
        async with serve() as served, httpx.AsyncClient(verify=False) as http:
            for transport in 20 * ("polling", "websocket"):
                await http.get(f"{served.address.url}/socket.io/?EIO=3&transport=polling")
                with pytest.raises(Closed):
                    await open_websocket(served.address, f"EIO=3&transport={transport}")
    told = [line for line in logs if line.get("reason") == "unsupported_protocol"]
    assert 1 <= len(told) < 10
    assert told[0]["event"] == "connection_closed"
    assert (told[0]["address"], told[0]["protocol"]) == ("127.0.0.1", "3")


async def test_a_preflight_request_is_answered() -> None:
    async with serve() as served, httpx.AsyncClient(verify=False) as http:
        headers = {"Origin": "https://app.example", "Access-Control-Request-Headers": "x-y"}
        answer = await http.options(f"{served.address.url}/socket.io/?EIO=4", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == "x-y"


async def test_a_post_is_answered_as_the_protocol_says() -> None:
    async with serve() as served, polling(served) as (client, _):
        answer = await client.post_body(SYNC.encode())
        assert (answer.status_code, answer.text) == (200, "ok")
        assert answer.headers["content-type"].startswith("text/html")
        assert (answer.headers["cache-control"], answer.headers["content-length"]) == ("no-store", "2")


async def test_a_long_answer_is_compressed_for_clients_that_accept_it() -> None:
    async with serve() as served, polling(served) as (client, connection):
        for accepted in ("gzip, deflate", "identity"):
            connection.send_event("new_message", b'"%b"' % (b"x" * 5_000))
            request = client.http.build_request("GET", client.address, headers={"Accept-Encoding": accepted})
            answer = await client.http.send(request, stream=True)
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
            assert len(raw) == int(answer.headers["content-length"])
            if "gzip" in accepted:
                assert (answer.headers["content-encoding"], len(raw) < 500) == ("gzip", True)
                raw = gzip.decompress(raw)
            assert raw.startswith(b'42["new_message","xxx')


async def test_jsonp_gets_scripts_and_sends_forms() -> None:
    async with serve() as served, polling(served) as (client, connection):
        client.address += "&j=7"
        form = await client.http.post(client.address, data={"d": SYNC})
        assert (form.status_code, form.text) == (200, "ok")
        assert served.handler.events == [(ALICE, None, SYNC[2:])]
        connection.send_event("ping", b'"\\u2028"')
        answer = await client.poll()
        assert answer.headers["content-type"] == "text/javascript; charset=UTF-8"
        script = answer.text.removeprefix("___eio[7](").removesuffix(");")
        assert json.loads(script) == '42["ping","\\u2028"]'


@given(st.floats(0.001, 1_000_000), st.floats(0.001, 1_000_000))
@example(2.5, 1.5)
@example(0.5, 0.25)
@example(1.001, 0.29)
@example(2.3, 1.1)
def test_the_heartbeat_reaches_the_client_in_whole_milliseconds_and_not_in_whole_seconds(
    interval_s: float, timeout_s: float
) -> None:
    class Hub:
        heartbeat_s, heartbeat_timeout_s, max_payload = interval_s, timeout_s, 123_456

    opened = EngineConnection(Hub(), "id").open_polling()  # type: ignore[arg-type]
    terms = json.loads(opened.removeprefix("0"))
    assert abs(terms["pingInterval"] - interval_s * 1000) <= 0.5
    assert abs(terms["pingTimeout"] - timeout_s * 1000) <= 0.5
    assert all(isinstance(terms[name], int) for name in ("pingInterval", "pingTimeout", "maxPayload"))
    assert (terms["sid"], terms["upgrades"], terms["maxPayload"]) == ("id", ["websocket"], 123_456)


# Framing.


class Tcp:
    """One TCP connection to the server."""

    def __init__(self, served: Served, client: Polling) -> None:
        self._url = httpx.URL(served.address.url)
        self._path = httpx.URL(client.address).raw_path

    async def __aenter__(self) -> "Tcp":
        self.reader, self.writer = await asyncio.open_connection(self._url.host, self._url.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def begin(self, method: bytes, *headers: bytes, version: bytes = b"1.1") -> None:
        """Send the head of a request to the client's connection."""
        lines = [b"%b %b HTTP/%b" % (method, self._path, version), b"Host: edge", *headers]
        self.send(b"\r\n".join(lines) + b"\r\n\r\n")

    async def status(self) -> int:
        """Return the status of the answer; 0 if there is none."""
        async with asyncio.timeout(PATIENCE_S):
            line = await self.reader.readline()
        return int(line.split()[1]) if line else 0

    async def reset(self) -> None:
        """Cut the connection off."""
        self.writer.transport.abort()


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


LONG = f'42["sync",{{"text":"{"x" * 300_000}"}}]'.encode()
CHUNKS: dict[str, list[bytes]] = {
    "one chunk": [chunked(SYNC.encode())],
    "many chunks": [chunked(*(SYNC[n : n + 1].encode() for n in range(len(SYNC))))],
    "in many packets of TCP": [bytes([byte]) for byte in chunked(b"42[", b'"sync",{}]')],
    "with an extension": [b"d;name=value\r\n" + SYNC.encode() + b"\r\n0\r\n\r\n"],
    "with a trailer": [b"d\r\n" + SYNC.encode() + b"\r\n0\r\nX-Sum: 1\r\n\r\n"],
}


@pytest.mark.parametrize("parts", CHUNKS.values(), ids=CHUNKS)
async def test_a_chunked_body_is_taken(parts: list[bytes]) -> None:
    async with serve() as served, polling(served) as (client, connection), Tcp(served, client) as tcp:
        connection.requests_due = 1
        served.handler.forget_costs()
        tcp.begin(b"POST", b"Transfer-Encoding: chunked")
        for part in parts:
            tcp.send(part)
            await tcp.writer.drain()
        assert await tcp.status() == 200
        assert served.handler.events == [(ALICE, None, SYNC[2:])]
        assert (served.handler.event_sizes, served.handler.metered) == ([len(SYNC)], [])


async def test_a_chunked_body_may_be_as_long_as_any_other() -> None:
    async with serve() as served, polling(served) as (client, _), Tcp(served, client) as tcp:
        tcp.begin(b"POST", b"Transfer-Encoding: chunked")
        tcp.send(chunked(*(LONG[n : n + 10_000] for n in range(0, len(LONG), 10_000))))
        assert await tcp.status() == 200
        assert served.handler.events == [(ALICE, None, LONG[2:].decode())]


async def test_a_chunked_body_over_the_limit_is_refused_and_metered_and_the_connection_goes_on() -> None:
    async with serve(frame_bytes=10_000) as served, polling(served) as (client, connection):
        async with Tcp(served, client) as tcp:
            served.handler.forget_costs()
            tcp.begin(b"POST", b"Transfer-Encoding: chunked")
            tcp.send(b"2711\r\n" + b"4" * 10_001 + b"\r\n")  # and it never ends
            assert await tcp.status() == 413
        assert sum(served.handler.metered) >= 10_001
        await client.send(SYNC)
        assert connection.state is State.SIGNED_IN


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_stranger_may_only_send_a_small_body(is_chunked: bool) -> None:
    async def post(client: Polling, size: int) -> int:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"4" * size

        answer = await client.http.post(client.address, content=chunks() if is_chunked else b"4" * size)
        return answer.status_code

    async with serve() as served, polling(served) as (friend, _):
        async with served.client("polling", None) as (stranger, _):
            assert isinstance(stranger, Polling)
            assert await post(stranger, STRANGER_BYTES + 1) == 413
            assert await post(stranger, STRANGER_BYTES) == 400
        assert await post(friend, 2 * STRANGER_BYTES) == 400


async def test_a_body_of_too_many_packets_is_refused_and_not_lost_in_silence() -> None:
    async with serve() as served, polling(served) as (client, connection):
        served.handler.forget_costs()
        body = b"\x1e".join([b"42[]"] * (POLL_PACKETS + 1))
        assert (await client.post_body(body)).status_code == 413
        assert sum(served.handler.metered) == len(body)
        assert (await client.post_body(body[5:])).status_code == 200
        assert len(served.handler.events) == POLL_PACKETS
        assert connection.state is State.SIGNED_IN


AMBIGUOUS: dict[str, list[bytes]] = {
    "both framings": [b"Content-Length: 13", b"Transfer-Encoding: chunked"],
    "both framings the other way round": [b"Transfer-Encoding: chunked", b"Content-Length: 13"],
    "two lengths": [b"Content-Length: 13", b"Content-Length: 14"],
    "a length of letters": [b"Content-Length: x"],
    "a negative length": [b"Content-Length: -1"],
    "a length with a sign": [b"Content-Length: +13"],
    "an endless length": [b"Content-Length: 99999999999999999999999"],
    "another encoding": [b"Transfer-Encoding: gzip"],
    "chunked before another encoding": [b"Transfer-Encoding: chunked, gzip"],
    "almost chunked": [b"Transfer-Encoding: xchunked"],
}


@pytest.mark.parametrize("headers", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_a_body_whose_framing_is_ambiguous_is_refused(headers: list[bytes]) -> None:
    async with serve() as served, polling(served) as (client, _), Tcp(served, client) as tcp:
        tcp.begin(b"POST", *headers)
        tcp.send(SYNC.encode())
        assert await tcp.status() == 400
        assert served.handler.events == []


async def test_what_follows_a_body_that_is_longer_than_its_length_is_not_taken() -> None:
    async with serve() as served, polling(served) as (client, _), Tcp(served, client) as tcp:
        tcp.begin(b"POST", b"Content-Length: 13")
        tcp.send(SYNC.encode() + SYNC.encode())
        assert await tcp.status() in {200, 400}
        async with asyncio.timeout(PATIENCE_S):
            await tcp.reader.read()  # to the end: the rest is no request
        assert served.handler.events in ([], [(ALICE, None, SYNC[2:])])


@pytest.mark.parametrize("framing", [b"Content-Length: 13", b"Transfer-Encoding: chunked"])
async def test_an_old_client_may_post_too(framing: bytes) -> None:
    async with serve() as served, polling(served) as (client, _), Tcp(served, client) as tcp:
        tcp.begin(b"POST", framing, version=b"1.0")
        tcp.send(SYNC.encode() if b"Length" in framing else chunked(SYNC.encode()))
        # HTTP/1.0 knows no chunks: taken or refused, but never taken for another request.
        assert await tcp.status() in ({200} if b"Length" in framing else {200, 400})
        assert len(served.handler.events) <= 1


@pytest.mark.parametrize("part", [b"", b'5\r\n42["s'], ids=["nothing", "half a chunk"])
async def test_a_body_that_takes_too_long_is_cut_off(part: bytes) -> None:
    async with serve() as served, polling(served) as (client, connection), Tcp(served, client) as tcp:
        tcp.begin(b"POST", b"Transfer-Encoding: chunked")
        tcp.send(part)
        await until(lambda: connection._is_posting, "the edge takes the request")
        await pass_time(CONNECT_S)
        assert await tcp.status() == 0
        await served.handler.until(lambda: served.handler.gone)
        assert served.handler.events == []


# Who polls and posts when.


async def waiting_poll(served: Served, client: Polling, connection: EngineConnection) -> Tcp:
    """Return a TCP connection on which a poll waits."""
    connection.requests_due = 0
    metered = len(served.handler.metered)
    tcp = await Tcp(served, client).__aenter__()
    tcp.begin(b"GET")
    await served.handler.until(lambda: len(served.handler.metered) > metered)
    return tcp


async def test_a_second_poll_while_one_waits_closes_the_connection() -> None:
    async with serve() as served, polling(served) as (client, connection):
        tcp = await waiting_poll(served, client, connection)
        assert (await client.poll()).status_code == 400
        assert await tcp.status() == 200
        await pass_time(KEEP_ALIVE_S)
        assert (await tcp.reader.read()).endswith(b"\r\n\r\n1")
        assert (await client.poll()).json()["code"] == 1
        assert served.handler.gone == [(ALICE, DisconnectReason.PROTOCOL_ERROR)]
        tcp.writer.close()


async def test_a_second_post_while_one_is_taken_closes_the_connection() -> None:
    async with serve() as served, polling(served) as (client, _), Tcp(served, client) as tcp:
        tcp.begin(b"POST", b"Transfer-Encoding: chunked")
        tcp.send(b"d\r\n")
        while not served.connections()[0]._is_posting:
            await asyncio.sleep(0.001)
        assert (await client.post_body(SYNC.encode())).status_code == 400
        assert served.handler.gone == [(ALICE, DisconnectReason.PROTOCOL_ERROR)]
        tcp.send(SYNC.encode() + b"\r\n0\r\n\r\n")
        assert await tcp.status() == 400
        assert served.handler.events == []


async def test_a_second_post_while_a_sign_in_is_checked_closes_the_connection() -> None:
    async with serve() as served, served.client("polling", None) as (client, connection):
        assert isinstance(client, Polling)
        served.handler.may_admit.clear()
        first = asyncio.create_task(client.post_body(b'40{"token":"alice"}'))
        await served.handler.until(lambda: served.handler.admitting)
        assert (await client.post_body(SYNC.encode())).status_code == 400
        assert connection.state is State.CLOSED
        served.handler.may_admit.set()
        assert (await first).status_code == 400
        assert served.handler.signed_in_as == []


async def test_a_poll_and_a_post_do_not_disturb_each_other() -> None:
    async with serve() as served, polling(served) as (client, connection):
        tcp = await waiting_poll(served, client, connection)
        for _ in range(3):
            await client.send(SYNC)
        connection.send_event("ping", b"{}")
        assert await tcp.status() == 200
        assert connection.state is State.SIGNED_IN
        tcp.writer.close()


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_client_that_hangs_up_on_its_poll_is_gone_and_nothing_goes_into_it(how: str) -> None:
    async with serve() as served, polling(served) as (client, connection):
        tcp = await waiting_poll(served, client, connection)
        if how == "reset":
            tcp.writer.transport.abort()
        else:
            tcp.writer.close()
        await served.handler.until(lambda: served.handler.gone)
        assert served.handler.gone == [(ALICE, DisconnectReason.TRANSPORT_CLOSED)]
        assert (await client.poll()).json()["code"] == 1


async def test_a_client_that_hangs_up_amid_a_post_is_gone_and_nothing_of_it_is_taken() -> None:
    async with serve() as served, polling(served) as (client, _), Tcp(served, client) as tcp:
        tcp.begin(b"POST", b"Content-Length: 100")
        tcp.send(SYNC.encode() + b"\x1e42[")
        await tcp.writer.drain()
        tcp.writer.close()
        await served.handler.until(lambda: served.handler.gone)
        assert served.handler.gone == [(ALICE, DisconnectReason.TRANSPORT_CLOSED)]
        assert served.handler.events == []


async def test_a_poll_that_is_hung_up_during_an_upgrade_loses_nothing() -> None:
    async with serve() as served, polling(served) as (client, connection):
        tcp = await waiting_poll(served, client, connection)
        async with Websocket(served.address, sid=client.sid) as websocket:
            while not connection._is_upgrading:
                await asyncio.sleep(0.001)
            tcp.writer.transport.abort()
            while connection._is_polled:
                await asyncio.sleep(0.001)
            connection.send_event("ping", b"1")
            await websocket.send("2probe")
            await websocket.expect("3probe")
            await websocket.send("5")
            assert await websocket.expect("42[") == '42["ping",1]'
            assert served.handler.gone == []


async def test_the_next_poll_of_a_client_that_answers_at_once_is_no_second_one() -> None:
    async with serve() as served, polling(served) as (client, connection):
        for number in range(100):
            connection.send_event("ping", b"%d" % number)
            assert (await client.poll()).text == f'42["ping",{number}]'
        assert connection.state is State.SIGNED_IN
