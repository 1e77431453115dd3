"""Attacks on people who read the logs: forged lines and escape sequences wherever a client can put text."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from tests.harness.deployment import Deployment, Edge, make_token
from tests.harness.raw import RawClient, event
from tests.security.conftest import Besiege
from tests.security.siege import errors_in
from tests.security.tcp import TEXT, Tcp, frame, handshake

pytestmark = pytest.mark.alone

FORGED = "2026-01-01T00:00:00.000000Z [error    ] forged by mallory"
NASTY = (f"\n{FORGED}", f"\r\n{FORGED}", "\x1b[2J\x1b]0;forged\x07", f"\u2028{FORGED}", f"\u202e{FORGED}")


@pytest.fixture(scope="module")
def text_edge(target: Deployment) -> Iterator[Edge]:
    """Another edge, with its log in plain text."""
    edge = target.start_edge(log_json="false")
    yield edge
    edge.stop()
    target.edges.remove(edge)


async def speak(edge: Edge, mallory: str, words: str) -> None:
    """Send the words everywhere a client can put text."""
    token = make_token(mallory, user_metadata={"username": f"{mallory}{words}"[:60]})
    encoded = words.encode()
    async with httpx.AsyncClient(base_url=edge.url, verify=False) as http:
        for query in (
            {"EIO": "4", "transport": words},
            {"EIO": words, "transport": "polling"},
            {"EIO": "4", "transport": "polling", "sid": words},
            {"EIO": "4", "transport": "polling", "j": words},
        ):
            await http.get("/socket.io/", params=query)
            await http.post("/socket.io/", params=query, content=encoded)
        await http.request("PURGE", "/socket.io/")
        await http.get(f"/{quote(words)}")
    for head in (
        b"GET /%b HTTP/1.1\r\n\r\n",
        b"%b / HTTP/1.1\r\n\r\n",
        b"GET /socket.io/?EIO=4 HTTP/1.1\r\nOrigin: %b\r\n\r\n",
        b"GET /socket.io/?EIO=4 HTTP/1.1\r\nUser-Agent: %b\r\nX-Forwarded-For: %b\r\n\r\n",
    ):
        async with Tcp(edge) as tcp:
            await tcp.send(head.replace(b"%b", encoded))
            await tcp.receive()
    async with Tcp(edge) as tcp:
        await tcp.send(handshake(headers=b"Origin: %b\r\n" % encoded))
        await tcp.receive()
        await tcp.send(frame(TEXT, f"40{json.dumps({'token': token})}".encode()))
        await tcp.receive()
    async with Tcp(edge) as tcp:
        await tcp.open_websocket()
        await tcp.send(frame(TEXT, f"40{json.dumps({'token': words})}".encode()))
        await tcp.send(frame(TEXT, f"40/{words},{{}}".encode()))
        await tcp.send(frame(TEXT, f"40{json.dumps({'token': token})}".encode()))
        for name in (words, "send_message"):
            for field in ("username", "text", "clientId", "chatId"):
                await tcp.send(frame(TEXT, f"421{event(name, {'username': mallory, field: words})}".encode()))
        await tcp.send(frame(TEXT, f"42{words}".encode()))
        await tcp.send(frame(TEXT, words.encode()))
        await tcp.closed()


async def test_no_client_text_forges_a_log_line(
    target: Deployment, text_edge: Edge, besiege: Besiege, raw: RawClient, mallory: str
) -> None:
    edges = [target.edges[0], text_edge]
    before = [len(edge.log) for edge in edges]
    async with besiege(
        attack="log injection",
        sent=f"{len(NASTY)} texts with line breaks, escape sequences and overrides in 30 places each",
        outcome="no forged line and no control character, in JSON or text",
        bound_mb=30,
    ):
        for edge in edges:
            for words in NASTY:
                await speak(edge, mallory, words)
    written = [edge.log[start:] for edge, start in zip(edges, before, strict=True)]
    for log in written:
        assert "client_connected" in log
        assert all(c == "\n" or c.isprintable() for c in log)
        assert "forged" not in log
    assert errors_in(written[0]) == []
