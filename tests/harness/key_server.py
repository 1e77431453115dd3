"""An endpoint that serves whatever a test makes it serve: keys, garbage, nothing, late; and tokens for it.

`supabase_auth.py` behaves as Supabase Auth does.
"""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from infra.settings.edge import EdgeSettings
from tests.harness.waiting import PATIENCE_S

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

USER_ID = "0b2a7a54-9f0e-4a66-8c39-0d7a4a4f6f11"


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        pass  # a client that hangs up early is part of the tests


class KeyServer:
    """A real HTTP server on a free port, of the loopback device unless told so, that counts its requests."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.hits = 0
        self.status = 200
        self.body: bytes = b"{}"
        self.delay_s = 0.0
        self._may_answer = threading.Event()
        self._may_answer.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.hits += 1
                server._may_answer.wait()
                time.sleep(server.delay_s)
                self.send_response(server.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = _QuietServer((host, 0), Handler)
        self.url = f"http://{host}:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Take requests meanwhile, and answer them at the end."""
        self._may_answer.clear()
        try:
            yield
        finally:
            self._may_answer.set()

    async def until_hits(self, count: int) -> None:
        """Wait until that many requests have come."""
        async with asyncio.timeout(PATIENCE_S):
            while self.hits < count:
                await asyncio.sleep(0.005)

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()


class Project:
    """Signing keys of a project, published at `server`."""

    def __init__(self, server: KeyServer) -> None:
        self.server = server
        self.issuer = f"{server.url}/auth/v1"
        self.keys: dict[str, PrivateKey] = {}
        self.add_key("first")

    def settings(self, **changes: Any) -> EdgeSettings:
        """Return the settings of an edge of this project."""
        values = {
            "redis_url": "redis://127.0.0.1",
            "supabase_url": self.server.url,
            "supabase_key": None,
            "supabase_jwt_secret": None,
            **changes,
        }
        return EdgeSettings.load(None, **values)

    def add_key(self, kid: str, key: PrivateKey | None = None) -> None:
        """Publish one more key, an ES256 one unless given."""
        self.keys[kid] = key or ec.generate_private_key(ec.SECP256R1())
        self.publish()

    def remove_key(self, kid: str) -> None:
        """Take a key out of the published set; tokens can still be signed with it."""
        self.publish(without=kid)

    def publish(self, without: str | None = None, extra: list[Any] | None = None) -> None:
        """Serve the public keys."""
        published = [public_jwk(kid, key) for kid, key in self.keys.items() if kid != without]
        self.server.body = json.dumps({"keys": (extra or []) + published}).encode()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good token with changes; a claim set to None is left out."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": USER_ID,
            "aud": "authenticated",
            "role": "authenticated",
            "iat": now,
            "exp": now + 3600,
            "user_metadata": {"username": "alice"},
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, kid: str = "first", header: dict[str, Any] | None = None, **changes: Any) -> str:
        """Return a token signed with a key of the project."""
        key = self.keys[kid]
        algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        return jwt.encode(self.claims(**changes), key, algorithm, headers={"kid": kid, **(header or {})})


def public_jwk(kid: str, key: PrivateKey) -> dict[str, Any]:
    """Return the published form of a key, as Supabase writes it."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {
            **ECAlgorithm.to_jwk(key.public_key(), as_dict=True),
            "kid": kid,
            "alg": "ES256",
            "use": "sig",
        }
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": "RS256", "use": "sig"}


class Clock:
    """A monotonic clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now
