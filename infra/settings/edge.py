"""Settings of `socket_edge`."""

from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, model_validator

from infra.settings.api_keys import ApiKeyList
from infra.settings.base import AtMost, variable
from infra.settings.service import ServiceSettings
from infra.settings.values import (
    Count,
    CountOrNoLimit,
    Host,
    HttpAddress,
    HttpUrl,
    NonNegativeSeconds,
    OriginList,
    Rate,
    Seconds,
    Words,
)


class AuthMode(StrEnum):
    """What verifies access tokens: the edge itself, or the Supabase Auth server."""

    LOCAL = "local"
    REMOTE = "remote"


class AssuranceLevel(StrEnum):
    """How well a user must have proved who they are: with one factor, or with a second one."""

    ONE_FACTOR = "aal1"
    TWO_FACTORS = "aal2"


MISSING: Final = "missing"
"""The word in `JWT_ISSUER` that accepts tokens without `iss`."""
_MIN_SECRET_BYTES: Final = 32
"""RFC 7518, section 3.2: an HS256 key is at least as long as the hash."""


def _issuers(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError(f"must name an `iss`, or be `{MISSING}`")
    return value


def _audiences(value: tuple[str, ...]) -> tuple[str, ...]:
    # Supabase Auth writes `aud` into every token, and a custom access token hook cannot remove it.
    if not value or MISSING in value:
        raise ValueError("must name an `aud`; it cannot be left out, because every token has one")
    return value


def _secret(value: str) -> str:
    if len(value.encode()) < _MIN_SECRET_BYTES:
        raise ValueError(f"must have at least {_MIN_SECRET_BYTES} bytes")
    return value


def _auth_url(values: dict[str, Any]) -> str:
    """Return where the project's Auth server is; nobody uses it if `supabase_url` is wrong."""
    return f"{values.get('supabase_url', '')}/auth/v1"


class EdgeSettings(ServiceSettings):
    """Settings of one edge."""

    relations = (
        AtMost(
            "redispatch_s",
            "deadline_s",
            less=True,
            because="a batch would never be sent again before its requests expire",
        ),
        AtMost(
            "lease_refresh_s",
            "lease_s",
            less=True,
            because="the edge would lose its lease between two refreshes",
        ),
        AtMost(
            "payload_bytes",
            "transport_bytes",
            less=True,
            because="the largest events would close the connection instead of being read",
        ),
    )

    host: Host = "localhost"
    """Address or name to listen on, with everything it resolves to (`localhost`: IPv4, and IPv6 where the
    machine has it); `0.0.0.0` in a container."""
    port: int = Field(3000, ge=0, le=65_535)
    """Port to listen on; `0` takes any free one."""
    origins: OriginList = ()
    """[Origins](#origins) of the pages that may connect, like `https://app.example`, separated by commas; `*`
    for any. Pages of the edge's own host and port, and clients without an Origin header, always may."""

    supabase_url: HttpAddress
    """Base address at which the edge reaches the Supabase project."""
    auth_mode: AuthMode = AuthMode.LOCAL
    """`local`: the edge verifies tokens; `remote`: the edge asks the Auth server."""
    supabase_key: str | None = None
    """Publishable (anon) key; required in `remote` mode."""
    supabase_jwt_secret: Annotated[str, AfterValidator(_secret)] | None = None
    """Legacy shared secret (HS256), at least 32 bytes. HS256 tokens are refused when it is not set; tokens
    signed with a published key are accepted either way."""
    jwt_issuer: Annotated[Words, AfterValidator(_issuers)] = Field(
        default_factory=lambda values: (_auth_url(values),)
    )
    """Accepted `iss` of tokens, separated by commas and compared exactly; the word `missing` in the list also
    accepts tokens without `iss`. Default: `SUPABASE_URL` + `/auth/v1`."""
    jwks_url: HttpUrl = Field(default_factory=lambda values: f"{_auth_url(values)}/.well-known/jwks.json")
    """Address of the published keys. Default: `SUPABASE_URL` + `/auth/v1/.well-known/jwks.json`."""
    jwt_audience: Annotated[Words, AfterValidator(_audiences)] = ("authenticated",)
    """Accepted `aud` of tokens, separated by commas; every token must have one of them."""
    jwks_cooldown_s: Seconds = 30.0
    """An unknown key id makes the edge fetch the published keys, at most once in this time; more than 600
    counts as 600."""
    clock_skew_s: Annotated[float, Field(ge=0, le=300)] = 10.0
    """How far the `nbf` of a token may lie ahead of the edge's clock. `exp` has no leeway, and `iat` is not
    checked."""
    allow_anonymous: bool = True
    """Whether users who signed in anonymously (`is_anonymous`) may chat."""
    require_aal: AssuranceLevel = AssuranceLevel.ONE_FACTOR
    """`aal2` refuses sessions that were started with one factor (`aal1`)."""
    token_grace_s: NonNegativeSeconds = 30.0
    """A client is told to refresh its token this long before it expires, or when a third of the time that
    the token had left when it was presented remains, whichever is later."""

    lanes: int = Field(2, ge=1, le=64)
    """Lanes for client events; see [scaling](#scaling)."""
    lane_queue: Count = 10_000
    """Events that may wait in a lane before clients get `busy`."""
    redispatch_s: Seconds = 2.0
    """A batch without a result is sent again after this time, or later if workers are slow. Less than
    `DEADLINE_S`."""
    deadline_s: Seconds = 10.0
    """A request without a result is answered with an error after this time."""

    rate_events: Rate = 50.0
    """Events per second of one user, on all their sockets on this edge, before they get `rate_limited`; `0`
    for no limit, as with every `RATE_...`."""
    rate_events_burst: Count = 500
    """Events that one user may send at once."""
    rate_bytes: Rate = 250_000.0
    """Bytes per second of these events."""
    rate_bytes_burst: Count = 5_000_000
    """Bytes of these events that one user may send at once."""
    rate_sign_ins: Rate = 2.0
    """Connections per second on which one user may sign in."""
    rate_sign_ins_burst: Count = 100
    """Connections on which one user may sign in at once."""
    rate_connects: Rate = 100.0
    """New connections per second from one [address](#addresses-of-clients), signed in or not, before it gets
    HTTP 429."""
    rate_connects_burst: Count = 2_000
    """New connections that one address may open at once."""
    sockets_per_user: CountOrNoLimit = 20
    """Sockets of one user on this edge; the next one replaces the oldest; `0` for no limit."""
    sockets_per_address: CountOrNoLimit = 10_000
    """Open connections of one [address](#addresses-of-clients), signed in or not, before it gets HTTP 429;
    `0` for no limit."""

    api_keys: ApiKeyList = ()
    """Who may call the [server API](server-api.md): entries that `bbgram api-key create` prints, separated by
    commas. Without any, edges have no server API."""
    rate_api: Rate = 200.0
    """Calls per second with one API key on this edge; each message of a call counts as one."""
    rate_api_burst: Count = 2_000
    """Calls that may come at once with one API key."""

    payload_bytes: Count = 65_536
    """Largest event; a larger one is answered `payload_too_large`; less than `TRANSPORT_BYTES`."""
    transport_bytes: Count = 1_000_000
    """Largest frame or HTTP body; a larger one is refused, and on a websocket closes the connection."""
    send_queue: Count = 5_000
    """Packets that may wait for a client that does not read, before it is disconnected."""
    send_bytes: Count = 8_000_000
    """Bytes that may wait for such a client."""
    drain_s: NonNegativeSeconds = 10.0
    """How long the clients of an edge that is stopped take to leave, one after the other; a hundred may
    always leave within a second."""
    connect_s: Seconds = 15.0
    """Time limit for a connection to sign in, for a request to arrive, and for an upgrade."""
    heartbeat_s: Seconds = 25.0
    """How often Engine.IO pings a client."""
    heartbeat_timeout_s: Seconds = 20.0
    """How long Engine.IO waits for the answer before it closes the connection."""
    ping_s: Seconds = 60.0
    """Time between application-level pings."""
    page_ack_s: Seconds = 1.0
    """How long a page of undelivered messages waits for its acks before the next one is sent."""

    lease_s: Annotated[float, Field(ge=0.001, le=600)] = 15.0
    """An edge that has been silent for this long counts as gone."""
    lease_refresh_s: Seconds = 5.0
    """How often an edge renews its lease; less than `LEASE_S`."""

    @property
    def auth_url(self) -> str:
        """Where the edge reaches the project's Auth server."""
        return f"{self.supabase_url}/auth/v1"

    @model_validator(mode="after")
    def _check_remote(self) -> Self:
        if self.auth_mode is AuthMode.REMOTE and not self.supabase_key:
            mode, key = variable("auth_mode"), variable("supabase_key")
            raise ValueError(f"{key} is not set. {mode}={AuthMode.REMOTE} needs it.")
        return self
