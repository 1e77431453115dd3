"""Settings of `socket_edge`."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from infra.settings.base import AtMost
from infra.settings.service import ServiceSettings
from infra.settings.values import (
    Count,
    CountOrNoLimit,
    Host,
    HttpAddress,
    NonNegativeSeconds,
    Rate,
    Seconds,
    Words,
)


class AuthMode(StrEnum):
    """What verifies access tokens: the edge itself, or the Supabase Auth server."""

    LOCAL = "local"
    REMOTE = "remote"


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
    origins: Words = ()
    """Browser origins that may connect, separated by commas; `*` for any. Clients without an Origin header
    are always allowed."""

    supabase_url: HttpAddress
    """Base address of the Supabase project; the issuer and the published keys follow from it."""
    auth_mode: AuthMode = AuthMode.LOCAL
    """`local`: the edge verifies tokens; `remote`: the edge asks the Auth server."""
    supabase_key: str | None = None
    """Publishable (anon) key; required in `remote` mode."""
    supabase_jwt_secret: str | None = None
    """Legacy shared secret (HS256), at least 32 bytes; the published keys are used when not set."""
    jwks_cooldown_s: Seconds = 30.0
    """Unknown key ids make the edge fetch the published keys, at most once in this time."""
    token_grace_s: NonNegativeSeconds = 30.0
    """A client is told to refresh its token this long before it expires."""

    lanes: int = Field(2, ge=1, le=64)
    """Lanes for client events; see [scaling](#scaling)."""
    lane_queue: Count = 10_000
    """Events that may wait in a lane before clients get `busy`."""
    redispatch_s: Seconds = 2.0
    """A batch without a result is sent again after this time; less than `DEADLINE_S`."""
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

    payload_bytes: Count = 65_536
    """Largest event; a larger one is answered `payload_too_large`; less than `TRANSPORT_BYTES`."""
    transport_bytes: Count = 1_000_000
    """Largest frame or HTTP body; a larger one is refused, and on a websocket closes the connection."""
    send_queue: Count = 5_000
    """Packets that may wait for a client that does not read, before it is disconnected."""
    send_bytes: Count = 8_000_000
    """Bytes that may wait for such a client."""
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
    def issuer(self) -> str:
        """The `iss` of this project's tokens."""
        return f"{self.supabase_url}/auth/v1"

    @property
    def jwks_url(self) -> str:
        """Where this project publishes its signing keys."""
        return f"{self.issuer}/.well-known/jwks.json"
