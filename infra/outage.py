"""How a service that does not answer is reported: once, with its address and the reason."""

import re
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import structlog

log = structlog.get_logger(__name__)

REDIS_PORT: Final = 6379
POSTGRES_PORT: Final = 5432

_REFUSED: Final = re.compile(r"[^\n]*(?:failed: |connecting to \S+\. )(?:(?:FATAL|ERROR): +)?([^\n]+)")
"""The reason in the messages of libpq and redis-py, without the address before it."""


class Outage:
    """Notices when something stops working because a service does not answer, and when it works again."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began_at: float | None = None

    def begins(self) -> bool:
        """Note that it does not work; return whether it did until now, so that this is worth a line."""
        if self._began_at is not None:
            return False
        self._began_at = time.monotonic()
        return True

    def ends(self) -> None:
        """Note that it works."""
        if self._began_at is not None:
            after_s = round(time.monotonic() - self._began_at, 1)
            log.info("works_again", what=self._what, after_s=after_s)
            self._began_at = None


def address_of(url: str, default_port: int) -> str:
    """Return host and port of an address, and nothing else of it: neither user nor password."""
    parts = urlsplit(url)
    return _address(parts.hostname or "localhost", parts.port or default_port)


def postgres_address(url: str) -> str:
    """Return host and port of each server that an address of Postgres names, and nothing else of it."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    hosts = ",".join(query.get("host") or [parts.netloc.rpartition("@")[2]]).split(",")
    ports = ",".join(query.get("port", [])).split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return ",".join(map(_server, hosts, ports))


def _server(host: str, port: str) -> str:
    if host.startswith("/"):  # a folder of sockets
        return host
    parts = urlsplit(f"//[{host}]" if host.count(":") > 1 and not host.startswith("[") else f"//{host}")
    return _address(parts.hostname or "localhost", parts.port or int(port or POSTGRES_PORT))


def redis_address(redis: Any) -> str:
    """Return host and port of the server that a Redis client talks to."""
    options = redis.connection_pool.connection_kwargs
    return _address(options.get("host", "localhost"), options.get("port", REDIS_PORT))


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason(error: BaseException) -> str:
    """Return why a service did not answer, in a few words."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
        if isinstance(one, TimeoutError) or "timeout" in type(one).__name__.lower():
            return "no answer in time"
    text = str(error).strip()
    if found := _REFUSED.search(text):
        return found[1].rstrip(".")
    return text.splitlines()[0] if text else type(error).__name__


def unusable(service: str, address: str, error: BaseException, setting: str) -> str:
    """Return one line: which service, why it cannot be used, and what to do about it."""
    return f"{service} at {address} cannot be used: {reason(error)}; start it, or correct {setting}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and those that caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
