"""Attacks by anonymous clients: connections that never sign in, requests that never end."""

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import Name
from tests.harness.deployment import Deployment, Edge, make_token
from tests.harness.raw import RawClient, sockets_of, until_sockets
from tests.harness.waiting import PATIENCE_S
from tests.security.conftest import CONNECT_S, Besiege
from tests.security.tcp import TEXT, Tcp, frame, handshake

pytestmark = pytest.mark.alone

SOON_S = CONNECT_S + 18
"""By then the deadline has closed a connection, and nothing else can have: a ping comes after 25 s."""
SOCKETS = 2_000
AT_ONCE = 100


async def test_thousands_of_sockets_that_never_sign_in_are_closed(
    target: Deployment, besiege: Besiege
) -> None:
    async with (
        besiege(
            attack="sockets that never sign in",
            sent=f"{SOCKETS:,} silent websockets",
            outcome="each is closed after `CONNECT_S`",
            bound_mb=120,
        ),
        AsyncExitStack() as stack,
    ):
        edge = target.edges[0]
        written = len(edge.log)
        silent = [await stack.enter_async_context(Tcp(edge)) for _ in range(SOCKETS)]
        for start in range(0, SOCKETS, AT_ONCE):
            await asyncio.gather(*(tcp.open_websocket() for tcp in silent[start : start + AT_ONCE]))
        await asyncio.gather(*(tcp.closed(SOON_S) for tcp in silent))
        assert 1 <= ends_in(edge.log[written:])["sign_in_timeout"] <= SOCKETS / 50


def ends_in(log: str) -> Counter[str]:
    """Return how many lines of a log say that a stranger's connection has ended, by reason."""
    lines = [json.loads(line) for line in log.splitlines()]
    return Counter(line["reason"] for line in lines if line["event"] == "connection_closed")


async def test_polling_connections_that_never_sign_in_are_closed(
    target: Deployment, besiege: Besiege
) -> None:
    edge = target.edges[0]
    async with (
        besiege(
            attack="polling connections that never sign in",
            sent="200 handshakes",
            outcome="each connection is forgotten after `CONNECT_S`",
            bound_mb=60,
        ),
        httpx.AsyncClient(timeout=PATIENCE_S, verify=False) as http,
    ):
        addresses = [await open_polling(http, edge) for _ in range(200)]
        # A polling client learns that its connection is gone only when it asks.
        async with asyncio.timeout(SOON_S):
            for address in addresses:
                while (await http.post(address, content=b"3")).status_code != 400:
                    await asyncio.sleep(0.1)


async def open_polling(http: httpx.AsyncClient, edge: Edge) -> str:
    """Open an Engine.IO connection; return its address for the following requests."""
    address = f"{edge.url}/socket.io/?EIO=4&transport=polling"
    opened = json.loads((await http.get(address)).text[1:])
    return f"{address}&sid={opened['sid']}"


POLL = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: edge\r\n\r\n"
NO_POLLS = {
    "/healthz": b"GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n",
    "an unknown page": b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n",
    "an unknown session": POLL.replace(b"polling", b"polling&sid=nobody"),
    "OPTIONS": POLL.replace(b"GET", b"OPTIONS"),
    "PUT": POLL.replace(b"GET", b"PUT"),
}


async def test_requests_without_a_session_do_not_keep_their_connection(
    patient: Edge, besiege: Besiege
) -> None:
    async with besiege(
        edge=patient,
        attack="requests without a session on one TCP connection",
        sent=f"{10 * len(NO_POLLS)} connections: {', '.join(NO_POLLS)}",
        outcome="each is answered once and closed",
        bound_mb=20,
    ):
        for request in 10 * list(NO_POLLS.values()):
            async with Tcp(patient) as tcp:
                await tcp.send(request + request)
                assert (await tcp.closed()).count(b"HTTP/1.1") == 1
        async with Tcp(patient) as tcp:
            for _ in range(2):
                await tcp.send(POLL)
                assert (await tcp.answer()).startswith(b"HTTP/1.1 200")


UNFINISHED = {
    "no byte": b"",
    "one byte": b"G",
    "half a head": b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: edge\r\nX-Header: ",
    "half a body": b"POST /socket.io/?EIO=4 HTTP/1.1\r\nHost: edge\r\nContent-Length: 9\r\n\r\n4",
    "half a handshake": handshake()[:-2],
}


async def test_requests_that_never_end_are_closed(target: Deployment, besiege: Besiege) -> None:
    async with besiege(
        attack="requests that never end",
        sent=f"{50 * len(UNFINISHED)} connections: nothing, half a head, half a body; 20 byte by byte",
        outcome="each is closed after `CONNECT_S`",
        bound_mb=40,
    ):
        edge = target.edges[0]
        written = len(edge.log)
        await asyncio.gather(
            *(leave_open(edge, data) for data in UNFINISHED.values() for _ in range(50)),
            *(trickle(edge) for _ in range(20)),
        )
        assert 1 <= ends_in(edge.log[written:])["request_timeout"] <= 20


async def leave_open(edge: Edge, data: bytes) -> None:
    async with Tcp(edge) as tcp:
        await tcp.send(data)
        await tcp.closed(SOON_S)


async def trickle(edge: Edge) -> None:
    """Get one request answered, then send blank lines and a head byte by byte."""
    async with Tcp(edge) as tcp:
        await tcp.send(POLL)
        assert (await tcp.receive()).startswith(b"HTTP/1.1 200")
        ended = asyncio.create_task(tcp.closed(SOON_S))
        for byte in b"\r\n\r\nGET /" + b"a" * 1_000:
            if ended.done():
                break
            await tcp.send(bytes([byte]))
            await asyncio.sleep(0.2)
        await ended


async def test_endless_heads_are_refused(target: Deployment, besiege: Besiege) -> None:
    async with besiege(
        attack="endless request heads",
        sent="20 connections, up to 20 MB each: a URL, a header, many headers, many in a handshake",
        outcome="refused after 64 kB",
        bound_mb=30,
    ):
        for start, more in (
            (b"GET /", b"a" * 65_536),
            (b"GET / HTTP/1.1\r\nX-Header: ", b"a" * 65_536),
            (b"GET / HTTP/1.1\r\n", b"X-Header: a\r\n" * 5_000),
            (handshake()[:-2], b"X-Header: a\r\n" * 5_000),
        ):
            for _ in range(5):
                assert await poured(target.edges[0], start, more) < 3_000_000


async def poured(edge: Edge, start: bytes, more: bytes) -> int:
    """Return how many of 20 MB the edge read before it closed the connection."""
    async with Tcp(edge) as tcp:
        await tcp.send(start)
        ended = asyncio.create_task(tcp.closed())
        size = 0
        while not ended.done() and size < 20_000_000:
            await tcp.send(more)
            size += len(more)
            await asyncio.sleep(0.001)
        received = await ended
        assert not received or received.startswith(b"HTTP/1.1 400")
        return size


UNREADABLE = {
    "300 headers": handshake(headers=b"X-Header: a\r\n" * 300),
    "a 20 kB header": handshake(headers=b"X-Header: " + b"a" * 20_000 + b"\r\n"),
    "binary header": handshake(headers=b"X-Header: \xff\r\n"),
    "binary key": handshake().replace(b"AAAA==", b"\xff\xfe=="),
    "binary version": handshake().replace(b"Version: 13", b"Version: \xff"),
    "binary URL": handshake(b"&x=\xff"),
    "unknown version": handshake().replace(b"Version: 13", b"Version: 99"),
}


async def test_handshakes_that_cannot_be_read_are_closed(patient: Edge, besiege: Besiege) -> None:
    async with besiege(
        edge=patient,
        attack="unreadable handshakes",
        sent=f"{10 * len(UNREADABLE)}, with {', '.join(UNREADABLE)}",
        outcome="closed at once, or served",
        bound_mb=20,
    ):
        for head in 10 * list(UNREADABLE.values()):
            async with Tcp(patient) as tcp:
                await tcp.send(head)
                if not (await tcp.receive()).startswith(b"HTTP/1.1 101"):
                    await tcp.closed()


async def test_upgrades_that_are_never_finished_are_closed(target: Deployment, besiege: Besiege) -> None:
    edge = target.edges[0]
    async with (
        besiege(
            attack="upgrades that never finish",
            sent="200 websockets to one polling connection, silent or continuing after it has ended",
            outcome="each is closed after `CONNECT_S` at the latest",
            bound_mb=40,
        ),
        httpx.AsyncClient(timeout=PATIENCE_S, verify=False) as http,
        AsyncExitStack() as stack,
    ):
        address = await open_polling(http, edge)
        sid = address.rpartition("&")[2].encode()
        silent = [await stack.enter_async_context(Tcp(edge)) for _ in range(199)]
        for tcp in silent:
            await tcp.open_websocket(b"&" + sid)
        await continue_late(http, edge)
        await asyncio.gather(*(tcp.closed(SOON_S) for tcp in silent))


async def continue_late(http: httpx.AsyncClient, edge: Edge) -> None:
    """Begin to upgrade a connection shortly before it ends, and go on when it has ended."""
    address = await open_polling(http, edge)
    await asyncio.sleep(CONNECT_S / 2)
    async with Tcp(edge) as late:
        # If this process was slow, the connection has ended already, and this is refused.
        await late.send(handshake(b"&" + address.rpartition("&")[2].encode()))
        async with asyncio.timeout(SOON_S):
            while (await http.post(address, content=b"3")).status_code == 200:
                await asyncio.sleep(0.1)
        await late.send(frame(TEXT, b"2probe") + frame(TEXT, b"5"))
        await late.closed(SOON_S)


async def test_a_connection_has_one_websocket(patient: Edge, besiege: Besiege) -> None:
    async with (
        besiege(
            edge=patient,
            attack="two upgrades of one connection at once",
            sent="20 polling connections with two websockets each",
            outcome="the faster one is served, the other closed",
            bound_mb=20,
        ),
        httpx.AsyncClient(timeout=PATIENCE_S, verify=False) as http,
    ):
        for _ in range(20):
            sid = (await open_polling(http, patient)).rpartition("&")[2].encode()
            async with Tcp(patient) as one, Tcp(patient) as other:
                for tcp in (one, other):
                    await tcp.open_websocket(b"&" + sid)
                    await tcp.send(frame(TEXT, b"2probe"))
                    assert b"3probe" in await tcp.receive()
                await one.send(frame(TEXT, b"5") + frame(TEXT, b"40"))
                assert b"44{" in await one.receive()
                await other.send(frame(TEXT, b"5"))
                await other.closed()
                await one.send(frame(TEXT, b"40"))
                assert b"44{" in await one.receive()


async def test_wrong_tokens_are_refused_one_after_another(
    target: Deployment, besiege: Besiege, mallory: str
) -> None:
    claims = jwt.decode(make_token(mallory), options={"verify_signature": False})
    tokens = [
        "x",
        make_token(mallory, ttl_s=-60),
        make_token(mallory, role="service_role"),
        make_token(mallory, iss="https://elsewhere.example/auth/v1"),
        make_token(mallory, aud="anon"),
        make_token(mallory, sub="mallory"),
        make_token(mallory)[:-2] + "xx",
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, "another secret of the same length as the one", algorithm="HS256"),
        jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
        "W1tb" * 3_000 + ".e30.x",
    ]
    wrong = [
        *(json.dumps({"token": token}) for token in tokens),
        "",
        # What is no object closes the connection, so these two come last.
        '{"token":' + "[" * 50_000,
        '"token"',
    ]
    async with (
        besiege(
            attack="wrong tokens",
            sent=f"{40 * len(wrong)} connects: none, garbage, deeply nested, expired, "
            "unsigned, wrong claim, key or algorithm",
            outcome="each is refused; connections close after `CONNECT_S`",
            bound_mb=30,
        ),
        AsyncExitStack() as stack,
    ):
        strangers = [await stack.enter_async_context(Tcp(target.edges[0])) for _ in range(80)]
        # Ten on one connection would close it.
        for tcp, auths in zip(strangers, 40 * (wrong[::2], wrong[1::2]), strict=True):
            await tcp.open_websocket()
            for auth in auths:
                await tcp.send(frame(TEXT, f"40{auth}".encode()))
        for tcp in strangers:
            received = await tcp.closed(SOON_S)
            refused = received.count(b'"code":"unauthorized"') + received.count(b'"code":"token_expired"')
            assert refused == len(wrong) / 2, received


async def test_a_client_that_keeps_coming_and_going_leaves_nothing_behind(
    target: Deployment, besiege: Besiege, raw: RawClient, mallory: str
) -> None:
    connect = f"40{json.dumps({'token': make_token(mallory)})}"
    async with besiege(
        attack="connects and disconnects on one connection",
        sent="300 of each, with a valid token",
        outcome="each is answered, and one socket remains",
        bound_mb=40,
    ):
        before = await sockets_of(target.edges[0])
        for _ in range(300):
            await raw.send("41")
            await raw.send(connect)
        await raw.expect("connection_success", 301)
        await until_sockets(target.edges[0], before)


ORIGINS = (
    *("https://evil.example", "http://app.example", "https://app.example.evil.example", "null"),
    *("https://app.example:8443", "http://[", "http://[::1", "https://app.example@evil.example"),
)


async def test_foreign_origins_are_refused(target: Deployment, besiege: Besiege, name: Name) -> None:
    connect = frame(TEXT, f"40{json.dumps({'token': make_token(name('mallory'))})}".encode())
    async with besiege(
        attack="foreign origins",
        sent=f"{5 * len(ORIGINS)} connects with a valid token, some with malformed origins",
        outcome="each is `forbidden_origin`",
        bound_mb=20,
    ):
        for origin in ORIGINS * 5:
            async with Tcp(target.edges[0]) as tcp:
                await tcp.open_websocket(headers=f"Origin: {origin}\r\n".encode())
                await tcp.send(connect)
                received = b""
                while b"44{" not in received:
                    received += (data := await tcp.receive())
                    assert data, received
                assert b'"code":"forbidden_origin"' in received
