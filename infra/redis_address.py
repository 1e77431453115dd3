"""Addresses of Redis: a server, or the Sentinels that know which server is the primary."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

_SENTINEL: Final = "+sentinel"
_PORT: Final = 26379
_LOGIN: Final = ("sentinel_username", "sentinel_password")
"""Options of an address that are for Sentinel. All others are for Redis."""


@dataclass(frozen=True)
class SentinelAddress:
    """What an address like `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/PRIMARY/DB?OPTIONS` says."""

    sentinels: tuple[tuple[str, int], ...]
    """Host and port of each."""
    primary: str
    """The name under which Sentinel knows the servers."""
    server_url: str
    """The address of Redis itself, with the first Sentinel in place of its host."""
    login: dict[str, str]
    """User name and password for Sentinel, as far as they are given."""

    @cached_property
    def server(self) -> dict[str, Any]:
        """What redis-py needs in order to connect to the primary, but for its host and port."""
        from redis.connection import parse_url

        options: dict[str, Any] = dict(parse_url(self.server_url))  # type: ignore[no-untyped-call]
        is_tls = options.pop("connection_class", None) is not None
        for unknown in ("host", "port"):
            options.pop(unknown, None)
        return {**options, "ssl": True} if is_tls else options

    @property
    def tls(self) -> dict[str, Any]:
        """The options of TLS, which are the same for Redis and Sentinel; empty without TLS."""
        return {name: value for name, value in self.server.items() if name.startswith("ssl")}

    @property
    def broker_url(self) -> str:
        """The address as kombu writes it: each Sentinel with the login and the database of Redis."""
        userinfo = ":".join(quote(self.server.get(part, ""), safe="") for part in ("username", "password"))
        return ";".join(
            f"sentinel://{userinfo}@{joined(host, port)}/{self.server.get('db', 0)}"
            for host, port in self.sentinels
        )


def is_sentinel(url: str) -> bool:
    """Return whether the address is one of Sentinels."""
    return url.partition("://")[0].endswith(_SENTINEL)


def parse_sentinel(url: str) -> SentinelAddress:
    """Read an address for which `is_sentinel` holds. Raises ValueError, without quoting it."""
    scheme, _, rest = url.partition("://")
    # Not urlsplit(): it takes what follows the first colon for one port.
    rest, _, query = rest.partition("?")
    netloc, _, path = rest.partition("/")
    login, at, hosts = netloc.rpartition("@")
    primary, _, database = path.partition("/")
    sentinels = tuple(_host_and_port(host) for host in hosts.split(","))
    options = parse_qs(query)
    if not primary or not (database or "0").isdecimal():
        raise ValueError("lacks the name of the primary")
    others = urlencode([(name, value) for name, value in parse_qsl(query) if name not in _LOGIN])
    server = (
        scheme.removesuffix(_SENTINEL),
        f"{login}{at}{joined(*sentinels[0])}",
        f"/{database or 0}",
        others,
        "",
    )
    return SentinelAddress(
        sentinels,
        unquote(primary),
        urlunsplit(server),
        {name.removeprefix("sentinel_"): options[name][0] for name in _LOGIN if name in options},
    )


def server_url(url: str) -> str:
    """Return the address of a server that has the options of this address, in the form of redis-py."""
    return parse_sentinel(url).server_url if is_sentinel(url) else url


def hosts_of(url: str, default_port: int) -> str:
    """Return hosts and ports of an address, and nothing else of it: neither user nor password."""
    if is_sentinel(url):
        return ",".join(joined(host, port) for host, port in parse_sentinel(url).sentinels)
    parts = urlsplit(url)
    return joined(parts.hostname or "localhost", parts.port or default_port)


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0:
        raise ValueError("lacks a host")
    return parts.hostname, parts.port or _PORT


def joined(host: str, port: int) -> str:
    """Return host and port as one writes them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
