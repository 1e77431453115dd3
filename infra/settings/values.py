"""The types of settings, each with bounds within which everything that uses it works."""

import re
from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from infra.redis_address import is_sentinel, parse_sentinel, server_url
from infra.wire.origins import origin_of

_WEEK_S: Final = 604_800
_YEAR_S: Final = 31_536_000
_MAX: Final = 1_000_000_000
_SIGNING_SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/]{32,86}={0,2}")


def _split(value: object) -> object:
    """Turn comma-separated text into its parts."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def are_signing_secrets(value: str) -> bool:
    """Tell whether these are secrets of Standard Webhooks, separated by spaces."""
    secrets = value.split()
    return bool(secrets) and all(map(_SIGNING_SECRET.fullmatch, secrets))


def _rate(value: float) -> float:
    if 0 < value < 0.001:
        raise ValueError("must be 0 for no limit, or at least 0.001")
    return value


def _address(*schemes: str) -> AfterValidator:
    """Check the form of an address. The message does not quote it: it may hold a password."""

    def check(value: str) -> str:
        scheme, _, _ = value.partition("://")
        if scheme not in schemes or "://" not in value:
            raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if is_sentinel(value):
            return _sentinel(value)
        try:
            parts = urlsplit(value)
            # A Redis client takes a database without a host for one on this machine.
            is_local = scheme == "redis" and len(parts.path) > 1
            is_address = (bool(parts.hostname) or is_local) and (parts.port is None or parts.port > 0)
        except ValueError:
            is_address = False
        if not is_address:
            raise ValueError(
                f"must look like {schemes[0]}://host:port; percent-encode special characters in a password"
            )
        return value

    return AfterValidator(check)


def _sentinel(value: str) -> str:
    try:
        parse_sentinel(value)
    except ValueError:
        raise ValueError(
            "must look like redis+sentinel://host:port,host:port/primary/0, where `primary` is the name that "
            "the Sentinels know; percent-encode special characters in a password"
        ) from None
    return value


def _redis_options(value: str) -> str:
    """Check what follows the `?`, which redis-py would refuse only when it connects."""
    from redis import ConnectionPool, RedisError

    try:
        ConnectionPool.from_url(server_url(value)).make_connection()
    except (RedisError, TypeError, ValueError):
        raise ValueError("has an option after the `?` that Redis clients do not know") from None
    return value


def _verified(value: str) -> str:
    """Have every client check the certificate, unless the address says otherwise.

    redis-py does so by itself, Celery does not.
    """
    address, _, query = value.partition("?")
    if not value.startswith("rediss") or "ssl_cert_reqs" in parse_qs(query):
        return value
    query = "&".join(filter(None, (query, "ssl_cert_reqs=required")))
    return f"{address}?{query}"


def _host(value: str) -> str:
    try:
        value.encode("idna")
    except UnicodeError:
        raise ValueError("must be a host name or an address") from None
    return value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return each origin in its usual spelling. The message leaves out credentials."""
    origins = []
    for position, origin in enumerate(value, 1):
        try:
            origins.append(origin if origin == "*" else origin_of(origin))
        except ValueError as error:
            shown = ascii(origin.rpartition("@")[2])[1:-1]
            raise ValueError(
                f"entry {position} (`{shown}`) {error}; write it like https://app.example:8443"
            ) from None
    return tuple(origins)


Seconds = Annotated[float, Field(ge=0.001, le=_WEEK_S)]
"""A waiting time or an interval."""
NonNegativeSeconds = Annotated[float, Field(ge=0, le=_YEAR_S)]
"""A time that may be 0."""
Days = Annotated[int, Field(ge=1, le=36_500)]
Count = Annotated[int, Field(ge=1, le=_MAX)]
CountOrNoLimit = Annotated[int, Field(ge=0, le=_MAX)]
Rate = Annotated[float, Field(ge=0, le=_MAX), AfterValidator(_rate)]
"""A number per second; 0 for no limit."""

Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Words separated by commas."""

OriginList = Annotated[Words, AfterValidator(_origins)]
"""Origins of web pages, and `*` for any."""

HttpUrl = Annotated[str, _address("http", "https")]
"""The address of one document."""
HttpAddress = Annotated[HttpUrl, AfterValidator(lambda value: value.rstrip("/"))]
"""The address under which there are several."""
RedisAddress = Annotated[
    str,
    _address("redis", "rediss", "redis+sentinel", "rediss+sentinel"),
    AfterValidator(_redis_options),
    AfterValidator(_verified),
]
RedisPrefix = Annotated[str, Field(pattern=r"^[\w.:-]*$", max_length=100)]
"""Printable and short, as it is part of every key."""
Host = Annotated[str, AfterValidator(_host)]
