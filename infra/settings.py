"""Typed settings, one class per deployable, read once in its entry point.

Values come from the environment, prefix `BBGRAM_`. What is not there is looked up in
`stack.env` of the data folder, which only the local stack writes. docs/deployment.md has the table.
"""

import os
import re
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import available_timezones

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from infra.wire.commands import CHANNELS

PREFIX = "BBGRAM_"


class SettingsError(Exception):
    """A setting is missing or wrong. The message is one line that names it."""


class AuthMode(StrEnum):
    """Who checks access tokens: the edge itself, or the Supabase Auth server."""

    LOCAL = "local"
    REMOTE = "remote"


def data_dir() -> Path:
    """Return the folder of the local stack: `BBGRAM_DATA_DIR`, or `.bbgram` here."""
    return Path(os.environ.get(f"{PREFIX}DATA_DIR") or ".bbgram").expanduser().resolve()


class Settings(BaseSettings):
    """How settings are read."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the settings. Raises SettingsError with one line that names the first bad one."""
        try:
            return cls(**{"_env_file": data_dir() / "stack.env", **overrides})
        except ValidationError as error:
            raise SettingsError(_describe(error)) from None


class QueueSettings(Settings):
    """What edges and workers share."""

    redis_url: str
    """`redis://` or `rediss://` address of the queue, the inbox streams and presence."""

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if not value.startswith(("redis://", "rediss://")):
            raise ValueError("must start with redis:// or rediss://")
        return value


class EdgeSettings(QueueSettings):
    """Settings of `socket_edge`."""

    host: str = "localhost"
    """Address or name to listen on, all its addresses; `0.0.0.0` for every interface."""
    port: int = Field(3000, ge=0, le=65535)
    origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Browser origins that may connect, separated by commas; `*` for any. Who sends none may always."""

    auth_mode: AuthMode = AuthMode.LOCAL
    supabase_url: str
    """Base address of the Supabase project; JWKS and issuer follow from it."""
    supabase_key: str | None = None
    """Publishable (anon) key, needed in `remote` mode only."""
    supabase_jwt_secret: str | None = None
    """Legacy shared secret (HS256). JWKS is used when it is not set."""
    jwks_cooldown_s: float = Field(30.0, gt=0)
    """An unknown key id makes the edge fetch the JWKS at most once in this time."""
    token_grace_s: float = Field(30.0, ge=0)
    """How long before `exp` a client is told to refresh its token."""

    lanes: int = Field(2, ge=1, le=64)
    lane_queue: int = Field(10_000, ge=1)
    """Events that may wait in a lane before clients get `busy`."""
    lane_bytes: int = Field(32_000_000, ge=1)
    """The same in bytes."""
    batch_events: int = Field(500, ge=1)
    batch_bytes: int = Field(1_000_000, ge=1)
    redispatch_s: float = Field(2.0, gt=0)
    deadline_s: float = Field(10.0, gt=0)
    receipt_linger_s: float = Field(0.1, ge=0)

    rate_events: float = Field(50.0, ge=0)
    """Events a second of one user, on all their sockets; 0 for any number, as with all of these."""
    rate_events_burst: int = Field(500, ge=1)
    """Events that one user may send at once."""
    rate_bytes: float = Field(250_000.0, ge=0)
    """Bytes of these events a second."""
    rate_bytes_burst: int = Field(5_000_000, ge=1)
    rate_sign_ins: float = Field(2.0, ge=0)
    """Connections a second on which one user signs in."""
    rate_sign_ins_burst: int = Field(100, ge=1)
    rate_connects: float = Field(100.0, ge=0)
    """New connections a second of one address, signed in or not."""
    rate_connects_burst: int = Field(2_000, ge=1)
    sockets_per_user: int = Field(20, ge=0)
    """Sockets of one user; one more takes the place of the oldest."""
    sockets_per_address: int = Field(10_000, ge=0)
    """Connections of one address, signed in or not."""

    payload_bytes: int = Field(65_536, ge=1)
    transport_bytes: int = Field(1_000_000, ge=1)
    """Largest frame that the transport reads; a larger one closes the connection."""
    send_queue: int = Field(5_000, ge=1)
    """Packets that may wait for a client that does not read, before it is disconnected."""
    send_bytes: int = Field(8_000_000, ge=1)
    """The same in bytes."""
    connect_s: float = Field(15.0, gt=0)
    """How long a connection may stay without having signed in, a request take to come, an upgrade last."""
    heartbeat_s: float = Field(25.0, gt=0)
    """How often Engine.IO pings a client."""
    heartbeat_timeout_s: float = Field(20.0, gt=0)
    """How long it waits for the answer before it closes the connection."""
    ping_s: float = Field(60.0, gt=0)
    page_ack_s: float = Field(1.0, gt=0)
    """How long a page of undelivered messages waits for its acks before the next one is sent."""

    lease_s: float = Field(15.0, gt=0)
    lease_refresh_s: float = Field(5.0, gt=0)
    log_json: bool = True

    @field_validator("origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        return _split(value)

    @field_validator("supabase_url")
    @classmethod
    def _strip(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @property
    def issuer(self) -> str:
        """The `iss` of this project's tokens."""
        return f"{self.supabase_url}/auth/v1"

    @property
    def jwks_url(self) -> str:
        """Where this project publishes its signing keys."""
        return f"{self.issuer}/.well-known/jwks.json"


class StoreSettings(Settings):
    """What reaches Postgres: workers, functions and migrations."""

    database_url: str
    """`postgresql://` address."""
    database_pooled: bool = False
    """Set behind a transaction-mode pooler: no server-side prepared statements."""

    @field_validator("database_url")
    @classmethod
    def _driver(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
            raise ValueError("must start with postgresql://")
        return f"postgresql+psycopg://{rest}"


class FunctionSettings(StoreSettings):
    """Settings of `functions`, whoever hosts them."""

    redis_url: str | None = None
    """The Redis of edges and workers. Only `offline_delivery`, and Celery, need it."""
    run_s: float = Field(600.0, gt=0)
    """A run begins nothing new after this time; the next one goes on."""
    log_json: bool = True

    dead_letter_days: int = Field(30, ge=1)
    device_days: int = Field(180, ge=1)
    """A device that was not registered again for so long is removed."""
    notification_days: int = Field(15, ge=1)
    """Longer than a dead-letter queue keeps what refers to them."""
    retention_days: int | None = Field(None, ge=1)
    """Messages older than this are deleted; kept for ever when it is not set."""

    offline_delay_s: float = Field(60.0, ge=0)
    """How long a message must be undelivered before its recipient is notified."""
    offline_interval_s: float = Field(300.0, ge=0)
    """Shortest time between two notifications to one user."""
    quiet_hours: str | None = None
    """`22:00-07:00`: nobody is notified then, in the zone of their device."""
    time_zone: str = "UTC"
    """IANA name of the zone of users whose devices have named none."""

    hide_texts: bool = False
    """Whether notifications leave out the text of the newest message."""
    push_tries: int = Field(5, ge=1)
    push_queue_url: str | None = None
    """SQS queue of notifications; on Lambda only."""
    push_log: bool = False
    """Whether every notification is logged too, without its text; for local use."""
    sns_fcm_arn: str | None = None
    """ARN of the SNS platform application for Android."""
    sns_apns_arn: str | None = None
    """The same for Apple; one with `APNS_SANDBOX` in its name is used as such."""
    vapid_private_key: str | None = None
    """Web Push: the private key, base64url or PEM."""
    vapid_subject: str | None = None
    """Web Push: `mailto:` or `https:` address of who sends."""
    email_from: str | None = None
    """Sender address that SES has verified."""
    webhook_secret: str | None = None
    """`whsec_` and base64: signs webhooks."""

    archive_bucket: str | None = None
    """S3 bucket; without it nothing is archived."""
    archive_prefix: str = "archive"
    archive_days: int = Field(90, ge=1)
    """Messages older than this are archived."""
    archive_shards: int = Field(1, ge=1, le=64)
    """Objects a day."""
    archive_hold_days: int = Field(30, ge=0)
    """How long restored messages stay before they are archived again."""

    @field_validator("quiet_hours")
    @classmethod
    def _hours(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError("must look like 22:00-07:00")
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if not is_time_zone(value):
            raise ValueError("must be the name of a time zone, like Europe/Berlin")
        return value


class WorkerSettings(QueueSettings, StoreSettings):
    """Settings of `workers`, beat included."""

    beat_functions: bool = True
    """Whether beat runs the functions; off where AWS Lambda does."""
    device_channels: Annotated[tuple[str, ...], NoDecode] = ("fcm", "apns", "webpush")
    """Channels that clients may register devices for, separated by commas."""
    devices_max: int = Field(20, ge=1)
    """Devices of one user; one more takes the place of the one registered longest ago."""

    provision_profiles: bool = False
    """Make a profile from the token's `user_metadata` for a user who has none."""
    text_chars: int = Field(4_000, ge=1)
    page: int = Field(50, ge=1)
    page_max: int = Field(100, ge=1)
    sweep_s: float = Field(5.0, gt=0)
    """How often the sweep runs."""
    sweep_after_s: float = Field(10.0, gt=0)
    """Age at which the sweep looks after a delivery that nobody has confirmed."""
    inbox_entries: int = Field(10_000, ge=1)
    """About how many entries an inbox stream keeps."""
    log_json: bool = True

    @field_validator("device_channels", mode="before")
    @classmethod
    def _channels(cls, value: object) -> object:
        channels = _split(value)
        if isinstance(channels, tuple) and not set(channels) <= set(CHANNELS):
            raise ValueError(f"must name some of {', '.join(CHANNELS)}")
        return channels


def is_time_zone(name: str) -> bool:
    """Tell whether `name` is an IANA time zone, e.g. `Europe/Berlin`."""
    return name in _time_zones()


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _split(value: object) -> object:
    """Turn a comma-separated text into its parts."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _describe(error: ValidationError) -> str:
    first = error.errors()[0]
    name = PREFIX + str(first["loc"][0]).upper()
    if first["type"] == "missing":
        return f"{name} is not set. Set it, or start the local stack with `make run` first."
    return f"{name} is wrong: {first['msg'].removeprefix('Value error, ')}."
