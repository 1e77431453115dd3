"""Servers on this machine that speak as FCM (OAuth and HTTP v1) and APNs (HTTP/2) do, and answer as told."""

import json
import ssl
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socket import SHUT_RDWR, create_server, socket
from typing import Any, Final
from urllib.parse import parse_qs

import h2.config
import h2.connection
import h2.events
import jwt
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from functions.channels.apns import ApnsChannel, ProviderToken
from functions.channels.clients import make_client
from functions.channels.fcm import FcmChannel
from tests.integration.channels.endpoint import Endpoint

TOPIC: Final = "com.example.chat"
KEY_ID: Final = "ABC123DEFG"
TEAM_ID: Final = "DEF123GHIJ"


@dataclass
class Answer:
    """What a server says instead of taking a notice."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body or {}).encode()


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """Return a key as the consoles of Google and Apple give it."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


class Fcm:
    """Gives access tokens to one service account, and takes notices from who has one."""

    def __init__(self, certificate: Path) -> None:
        self.answers: list[Answer] = []
        self.token_answers: list[Answer] = []
        self.tokens: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self._certificate = certificate
        self._closing = ExitStack()
        self._key = rsa.generate_private_key(65_537, 2_048)
        self._endpoint = Endpoint(certificate)
        self._endpoint.misbehave = self._serve

    def account(self) -> dict[str, Any]:
        """Return what the file of the service account holds."""
        return {
            "type": "service_account",
            "project_id": "chat-1",
            "private_key_id": "1",
            "private_key": pem(self._key),
            "client_email": "push@chat-1.iam.example",
            "client_id": "1",
            "token_uri": self._endpoint.url("/token"),
        }

    def channel(self) -> FcmChannel:
        """Return a channel that trusts this server."""
        session = self._closing.enter_context(requests.Session())
        session.trust_env, session.verify = False, str(self._certificate)
        context = ssl.create_default_context(cafile=self._certificate)
        client = self._closing.enter_context(make_client(context=context))
        return FcmChannel(client, session, self.account(), self._endpoint.url(""))

    def shut(self) -> None:
        """Listen no longer."""
        if not self._endpoint.stopped.is_set():
            self._endpoint.stop()

    def stop(self) -> None:
        """Close the connections of all channels, and shut down."""
        self._closing.close()
        self.shut()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        received = self._endpoint.received[-1]
        if received.path == "/token":
            answer = self._token(received.body)
        else:
            answer = self._send(received.path, received.headers, received.body)
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(answer.content)))
        handler.end_headers()
        handler.wfile.write(answer.content)

    def _token(self, body: bytes) -> Answer:
        form = parse_qs(body.decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        claims = jwt.decode(
            form["assertion"][0],
            self._key.public_key(),
            algorithms=["RS256"],
            audience="https://oauth2.googleapis.com/token",
        )
        assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        if self.token_answers:
            return self.token_answers.pop(0)
        self.tokens.append(f"access-{len(self.tokens)}")
        return Answer(200, {"access_token": self.tokens[-1], "expires_in": 3600, "token_type": "Bearer"})

    def _send(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        assert path == "/v1/projects/chat-1/messages:send"
        if headers["authorization"] != f"Bearer {self.tokens[-1]}":
            return Answer(401, {"error": {"status": "UNAUTHENTICATED"}})
        self.messages.append(json.loads(body)["message"])
        return self.answers.pop(0) if self.answers else Answer(200, {"name": "projects/chat-1/messages/1"})


@dataclass
class Sent:
    """A notice as APNs got it."""

    path: str
    headers: dict[str, str]
    payload: dict[str, Any]


class Apns:
    """Takes notices over HTTP/2 from who signs with the right key. Each connection has a thread."""

    def __init__(self, certificate: Path) -> None:
        self.answers: list[Answer] = []
        self.sent: list[Sent] = []
        self.connections = 0
        self._certificate = certificate
        self._closing = ExitStack()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._context.set_alpn_protocols(["h2"])
        self._listener = create_server(("127.0.0.1", 0))
        self._open: list[socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def tokens(self) -> list[str]:
        """The provider tokens that it got, each once."""
        return list(dict.fromkeys(sent.headers["authorization"] for sent in self.sent))

    def channel(self, key: str | None = None) -> ApnsChannel:
        """Return a channel that trusts this server."""
        context = ssl.create_default_context(cafile=self._certificate)
        token = ProviderToken(key or pem(self._key), KEY_ID, TEAM_ID)
        url = f"https://localhost:{self._listener.getsockname()[1]}"
        client = self._closing.enter_context(make_client(only_http2=True, context=context))
        return ApnsChannel(client, token, TOPIC, url)

    def stop(self) -> None:
        """Close the connections of all channels, and shut down."""
        self._closing.close()
        self.shut()

    def shut(self) -> None:
        """Listen no longer, close all connections, and wait for the threads."""
        for open_socket in (self._listener, *self._open):
            with suppress(OSError):
                open_socket.shutdown(SHUT_RDWR)
            open_socket.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
                connected = self._context.wrap_socket(plain, server_side=True)
            except OSError:
                return
            self.connections += 1
            self._open.append(connected)
            self._threads.append(threading.Thread(target=self._serve, args=(connected,)))
            self._threads[-1].start()

    def _serve(self, connected: ssl.SSLSocket) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        conn = h2.connection.H2Connection(config)
        conn.initiate_connection()
        headers: dict[int, dict[str, str]] = {}
        bodies: dict[int, bytes] = {}
        with suppress(OSError):
            connected.sendall(conn.data_to_send())
            while data := connected.recv(65_536):
                for event in conn.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        headers[event.stream_id] = {str(name): str(value) for name, value in event.headers}
                    elif isinstance(event, h2.events.DataReceived):
                        bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                    elif isinstance(event, h2.events.StreamEnded):
                        answer = self._answer(headers.pop(event.stream_id), bodies.pop(event.stream_id))
                        reply = [(":status", str(answer.status)), *answer.headers.items()]
                        conn.send_headers(event.stream_id, reply)
                        conn.send_data(event.stream_id, answer.content, end_stream=True)
                connected.sendall(conn.data_to_send())
        connected.close()

    def _answer(self, headers: dict[str, str], body: bytes) -> Answer:
        assert headers[":method"] == "POST"
        self.sent.append(Sent(headers[":path"], headers, json.loads(body)))
        token = headers["authorization"].removeprefix("bearer ")
        try:
            claims = jwt.decode(token, self._key.public_key(), algorithms=["ES256"])
        except jwt.InvalidTokenError:
            return Answer(403, {"reason": "InvalidProviderToken"})
        assert claims.keys() == {"iss", "iat"}
        assert claims["iss"] == TEAM_ID
        assert jwt.get_unverified_header(token)["kid"] == KEY_ID
        if len(body) > 4_096:
            return Answer(413, {"reason": "PayloadTooLarge"})
        return self.answers.pop(0) if self.answers else Answer(200, "")
