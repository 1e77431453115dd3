"""The session for addresses that users gave us reaches public https addresses only."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import requests

import functions.channels.outbound as outbound
from functions.channels.outbound import make_session, retry_after_s
from functions.errors import AddressRefused
from tests.integration.channels.endpoint import Endpoint

Resolve = Callable[[str], list[str]]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Return a function that makes every name lead to an address; it returns the list of names asked for."""

    def to(address: str) -> list[str]:
        asked: list[str] = []
        real = socket.getaddrinfo

        def lookup(host: str, port: int, *_: Any, **__: Any) -> Any:
            asked.append(host)
            return real(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        return asked

    return to


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_a_name_that_leads_into_a_private_network_is_refused(address: str, resolve: Resolve) -> None:
    resolve(address)
    with make_session() as session, pytest.raises(AddressRefused, match="not public"):
        session.post("https://push.example/")


def test_a_name_of_this_machine_is_refused() -> None:
    with make_session() as session, pytest.raises(AddressRefused, match="not public"):
        session.post("https://localhost/")


def test_a_name_is_resolved_once_and_the_address_that_was_checked_is_connected_to(
    resolve: Resolve, session: requests.Session, endpoint: Endpoint
) -> None:
    asked = resolve("127.0.0.1")
    session.post(endpoint.url("/"))
    assert asked == ["localhost", "127.0.0.1"]


def test_the_certificate_must_be_that_of_the_name(
    resolve: Resolve, session: requests.Session, endpoint: Endpoint
) -> None:
    resolve("127.0.0.1")
    with pytest.raises(requests.exceptions.SSLError):
        session.post(f"https://push.example:{endpoint.port}/")
    assert not endpoint.received


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(endpoint: Endpoint) -> None:
    with make_session(allow_loopback=True) as session, pytest.raises(requests.exceptions.SSLError):
        session.post(endpoint.url("/"))


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:{port}/",
        "https://127.0.0.1:{port}/",
        "https://2130706433:{port}/",
        "https://0x7f.1:{port}/",
        "https://\uff11\uff12\uff17.0.0.1:{port}/",
        "https://user:word@localhost:{port}/",
        "ftp://localhost:{port}/",
        "localhost:{port}",
        "",
    ],
)
def test_anything_but_https_with_a_host_name_is_refused_before_anything_is_sent(
    url: str, resolve: Resolve, session: requests.Session, endpoint: Endpoint
) -> None:
    asked = resolve("127.0.0.1")
    with pytest.raises(AddressRefused):
        session.post(url.format(port=endpoint.port))
    assert not asked
    assert not endpoint.received


def test_another_port_is_for_tests_only() -> None:
    with make_session() as session, pytest.raises(AddressRefused, match="port 443"):
        session.post("https://localhost:8443/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_followed(
    status: int, session: requests.Session, endpoint: Endpoint
) -> None:
    endpoint.status, endpoint.headers = status, {"Location": "/elsewhere"}
    with pytest.raises(AddressRefused, match="redirect"):
        session.post(endpoint.url("/here"), allow_redirects=True)
    assert [received.path for received in endpoint.received] == ["/here"]


@pytest.mark.parametrize("status", [200, 302, 500])
def test_a_body_is_not_read_however_long_it_is(
    status: int, session: requests.Session, endpoint: Endpoint
) -> None:
    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()
        with suppress(OSError):
            for _ in range(1_000):
                handler.wfile.write(b"x" * 65_536)
            was_read.set()

    was_read = threading.Event()
    endpoint.misbehave = pour
    with suppress(AddressRefused):
        assert session.post(endpoint.url("/")).content == b""
    assert len(endpoint.received) == 1
    assert not was_read.is_set()


def test_an_answer_that_drips_forever_is_given_up(
    session: requests.Session, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            for _ in range(200):
                handler.wfile.write(b"x")
                endpoint.stopped.wait(0.01)
            was_read.set()

    was_read = threading.Event()
    monkeypatch.setattr(outbound, "EXCHANGE_S", 0.2)
    endpoint.misbehave = drip
    with pytest.raises(requests.ConnectionError):
        session.post(endpoint.url("/"))
    assert not was_read.is_set()


def test_a_handshake_that_drips_forever_is_given_up(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip() -> None:
        line, _ = listener.accept()
        with line, suppress(OSError):
            line.sendall(b"\x16\x03\x03\x40\x00")  # a long handshake record begins
            for _ in range(200):
                line.sendall(b"x")
                given_up.wait(0.01)
            was_read.set()

    was_read, given_up = threading.Event(), threading.Event()
    monkeypatch.setattr(outbound, "EXCHANGE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip)
        server.start()
        with pytest.raises(requests.ConnectionError):
            session.post(f"https://localhost:{listener.getsockname()[1]}/")
        assert not was_read.is_set()
        given_up.set()
        server.join()


def test_proxies_and_passwords_of_the_environment_are_not_used(
    session: requests.Session, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login a password b")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert session.post(endpoint.url("/")).ok
    assert "authorization" not in endpoint.received[0].headers


def test_cookies_are_not_kept(session: requests.Session, endpoint: Endpoint) -> None:
    endpoint.headers = {"Set-Cookie": "a=b"}
    session.post(endpoint.url("/"))
    session.post(endpoint.url("/"))
    assert "cookie" not in endpoint.received[1].headers


@pytest.mark.parametrize(
    ("value", "pause_s"),
    [
        ("120", 120),
        ("0", 0),
        ("999999999", 21_600),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 21_600),
        ("Fri, 31 Dec 9999 23:59:59 -0000", 21_600),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("²", None),
        ("9" * 5_000, None),
    ],
)
def test_a_pause_is_read_as_seconds_or_as_a_date(value: str, pause_s: float | None) -> None:
    response = requests.Response()
    response.headers["Retry-After"] = value
    assert retry_after_s(response) == pause_s
