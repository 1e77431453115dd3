"""Supabase Auth in the small: a project's keys, users and sessions, behind a gateway that asks for a key.

It answers as the source of Supabase Auth says (https://github.com/supabase/auth, release 2.196.0, commit
bc32168e of 2026-08-20); each rule names its file there. `key_server.py` serves what no Supabase would.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from infra.settings.edge import EdgeSettings
from tests.harness.key_server import PrivateKey, public_jwk

PUBLISHABLE_KEY: Final = "sb_publishable_of_the_tests"
SECRET: Final = "the legacy secret of a project, long enough"
AUDIENCE: Final = "authenticated"

Document = dict[str, Any]
Change = Callable[["User"], None]


class KeyState(StrEnum):
    """The states of a signing key, as the dashboard names them.

    https://supabase.com/docs/guides/auth/signing-keys
    """

    STANDBY = "standby"
    IN_USE = "in use"
    PREVIOUSLY_USED = "previously used"
    REVOKED = "revoked"


@dataclass
class SigningKey:
    """A key of the project; without a private key it is the legacy secret (HS256)."""

    private: PrivateKey | None
    state: KeyState

    @property
    def algorithm(self) -> str:
        """Return the algorithm that goes with the key (internal/conf/jwk.go: GetSigningAlg)."""
        if self.private is None:
            return "HS256"
        return "ES256" if isinstance(self.private, ec.EllipticCurvePrivateKey) else "RS256"


@dataclass
class User:
    """A row of `auth.users`, and the user's sessions."""

    id: str = field(default_factory=lambda: str(uuid4()))
    is_anonymous: bool = False
    metadata: Document = field(default_factory=dict)
    banned_until: float = 0.0
    deleted_at: float | None = None
    sessions: set[str] = field(default_factory=set)

    def document(self) -> Document:
        """Return the user as `GET /user` does (internal/models/user.go: the JSON tags of User)."""
        since = "2026-01-31T12:00:00Z"
        times = {"created_at": since, "updated_at": since}
        return {
            "id": self.id,
            "aud": AUDIENCE,
            "role": "authenticated",
            "email": "" if self.is_anonymous else f"{self.id}@example.com",
            "phone": "",
            "app_metadata": {},
            "user_metadata": self.metadata,
            "identities": [],
            "is_anonymous": self.is_anonymous,
            **times,
        }


class AuthError(Exception):
    """A refusal, with the HTTP status and the code of internal/api/apierrors/errorcode.go."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)

    def body(self, api_version: str) -> Document:
        """Return the body of the answer, whose fields API version 2024-01-01 has renamed."""
        # internal/api/errors.go: handleResponseErrorHTTP.
        if api_version >= "2024-01-01":
            return {"code": self.code, "message": self.message}
        # internal/api/apierrors/apierrors.go: the JSON tags of HTTPError.
        return {"code": self.status, "error_code": self.code, "msg": self.message}


class SupabaseAuth:
    """A project that starts with one ES256 key, in use, and no legacy secret."""

    def __init__(self, **key_states: KeyState) -> None:
        """`key_states`: ids and states of ES256 keys to have instead."""
        self.keys: dict[str, SigningKey] = {}
        self.users: dict[str, User] = {}
        self.hits: dict[str, int] = {}
        """Requests by path, those refused by the gateway included."""
        self.is_down = False
        """Whether the Auth server behind the gateway is down; the gateway answers 503 then."""
        self.publishable_key = PUBLISHABLE_KEY
        """What the gateway accepts as `apikey`."""
        for kid, state in (key_states or {"current": KeyState.IN_USE}).items():
            self.add_key(kid, state)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.issuer: str | None = f"{self.url}/auth/v1"
        """The `iss` of tokens; None leaves it out (internal/conf/configuration.go: JWTConfiguration)."""
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Refuse connections from now on."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()

    def settings(self, **changes: Any) -> EdgeSettings:
        """Return the settings of an edge of this project."""
        values = {
            "redis_url": "redis://127.0.0.1",
            "supabase_url": self.url,
            "supabase_key": PUBLISHABLE_KEY,
            "supabase_jwt_secret": None,
            **changes,
        }
        return EdgeSettings.load(None, **values)

    # Keys

    def add_key(
        self, kid: str, state: KeyState = KeyState.STANDBY, private: PrivateKey | None = None
    ) -> None:
        """Add a key, an ES256 one unless given."""
        self.keys[kid] = SigningKey(private or ec.generate_private_key(ec.SECP256R1()), state)

    def add_rsa_key(self, kid: str, state: KeyState = KeyState.STANDBY) -> None:
        """Add an RS256 key."""
        self.add_key(kid, state, rsa.generate_private_key(65537, 2048))

    def add_secret(self, state: KeyState = KeyState.IN_USE) -> None:
        """Add the legacy secret, in use: a project that has not moved to signing keys."""
        self.keys["legacy"] = SigningKey(None, state)

    def rotate(self, kid: str) -> None:
        """Put a key to use; the one that was stays published (internal/conf/jwk.go: one key has `sign`)."""
        for key in self.keys.values():
            if key.state is KeyState.IN_USE:
                key.state = KeyState.PREVIOUSLY_USED
        self.keys[kid].state = KeyState.IN_USE

    def revoke(self, kid: str) -> None:
        """Revoke a key: it is published no more, and its tokens count no more."""
        self.keys[kid].state = KeyState.REVOKED

    def jwks(self) -> Document:
        """Return the public keys, never a shared secret (internal/api/jwks.go: WellKnownJwks)."""
        return {
            "keys": [
                # internal/conf/jwk.go, decodePublicKey: `use` is sig, `key_ops` is verify.
                {**public_jwk(kid, key.private), "key_ops": ["verify"]}
                for kid, key in self.keys.items()
                if key.private is not None and key.state is not KeyState.REVOKED
            ]
        }

    # Users and sessions

    def sign_up(self, **facts: Any) -> User:
        """Add a user."""
        user = User(**facts)
        self.users[user.id] = user
        return user

    def sign_in(self, user: User, **changes: Any) -> str:
        """Start a session; return its first access token. `changes`: what a custom token hook does."""
        session_id = str(uuid4())
        user.sessions.add(session_id)
        return self.token(user, session_id, **changes)

    def token(self, user: User, session_id: str, ttl_s: int = 3_600, **changes: Any) -> str:
        """Sign an access token with the key in use; claims that are None are left out.

        The claims are those of internal/tokens/service.go: GenerateAccessToken.
        """
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": user.id,
            "aud": AUDIENCE,
            "exp": now + ttl_s,
            "iat": now,
            "email": "",
            "phone": "",
            "app_metadata": {},
            "user_metadata": user.metadata,
            "role": "authenticated",
            "aal": "aal1",
            "amr": [{"method": "anonymous" if user.is_anonymous else "password", "timestamp": now}],
            "session_id": session_id,
            "is_anonymous": user.is_anonymous,
            **changes,
        }
        kid, key = next((kid, key) for kid, key in self.keys.items() if key.state is KeyState.IN_USE)
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            key.private or SECRET,
            key.algorithm,
            # internal/tokens/service.go, SignJWT: every token names its key if the key has an id.
            headers={"kid": kid},
        )

    def ban(self, user: User, for_s: float = 3_600) -> None:
        """Ban a user. Sessions stay (internal/models/user.go: Ban)."""
        user.banned_until = time.time() + for_s

    def sign_out(self, user: User) -> None:
        """End the sessions of a user (internal/api/logout.go: scope `global`)."""
        user.sessions.clear()

    def soft_delete(self, user: User) -> None:
        """Keep the row, empty it and end the sessions (internal/models/user.go: SoftDeleteUser)."""
        user.deleted_at, user.metadata = time.time(), {}
        self.sign_out(user)

    def delete(self, user: User) -> None:
        """Delete the row, and with it the sessions (internal/api/admin.go: adminUserDelete)."""
        del self.users[user.id]
        self.sign_out(user)

    # What the server answers

    def get_user(self, authorization: str) -> Document:
        """Return the user of a token whose user and session exist. Raises AuthError.

        The order is that of internal/api/auth.go: requireAuthentication, then internal/api/user.go: UserGet.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token or " " in token:
            raise AuthError(401, "no_authorization", "This endpoint requires a valid Bearer token")
        claims = self._claims(token)
        user = self.users.get(claims["sub"])
        # A row that is only marked as deleted is found like any other (models.FindUserByID).
        if user is None:
            raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
        if claims.get("session_id") and claims["session_id"] not in user.sessions:
            raise AuthError(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        if time.time() < user.banned_until:
            raise AuthError(403, "user_banned", "User is banned")
        return user.document()

    def _claims(self, token: str) -> Document:
        """Check signature and times, and neither `iss` nor `aud` (internal/api/auth.go: parseJWTClaims)."""
        try:
            header = jwt.get_unverified_header(token)
            key = self.keys.get(header.get("kid", ""))
            # A token without a known kid falls back to the secret, if it is an HS256 one.
            fallback = SigningKey(None, KeyState.IN_USE) if header["alg"] == "HS256" else None
            if (key := key or fallback) is None or key.state is KeyState.REVOKED:
                raise jwt.InvalidTokenError("unrecognized JWT kid")
            public = key.private.public_key() if key.private else SECRET
            options: Any = {"verify_aud": False, "verify_iat": False}
            return jwt.decode(token, public, [key.algorithm], options=options)
        except (jwt.PyJWTError, ValueError) as error:
            message = f"invalid JWT: unable to parse or verify signature, {error}"
            raise AuthError(403, "bad_jwt", message) from error


def _handler(server: SupabaseAuth) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.hits[self.path] = server.hits.get(self.path, 0) + 1
            try:
                status, body = self._answer()
            except AuthError as error:
                version = self.headers.get("X-Supabase-Api-Version", "")
                status, body = error.status, error.body(version)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if self.path.endswith("jwks.json"):
                self.send_header("Cache-Control", "public, max-age=600")  # internal/api/jwks.go
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def _answer(self) -> tuple[int, Document]:
            if server.is_down:
                return 503, {"message": "name resolution failed"}
            # internal/api/api.go has the routes. A gateway guards all but the public ones with the API key.
            if self.path == "/auth/v1/.well-known/jwks.json":
                return 200, server.jwks()
            if self.path == "/auth/v1/.well-known/openid-configuration":
                return 200, {"issuer": server.issuer or ""}  # internal/api/jwks.go: WellKnownOpenID
            if (key := self.headers.get("apikey")) != server.publishable_key:
                return 401, {"message": "Invalid API key" if key else "No API key found in request"}
            if self.path == "/auth/v1/user":
                return 200, server.get_user(self.headers.get("Authorization", ""))
            if self.path == "/auth/v1/health":
                return 200, {"name": "GoTrue", "version": "v2.196.0"}
            return 404, {"message": "no Route matched with those values"}

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
