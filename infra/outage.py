"""How a service that does not answer is reported: once, with its address and the reason."""

import re
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import structlog

from infra.redis_address import hosts_of, joined

log = structlog.get_logger(__name__)

REDIS_PORT: Final = 6379
POSTGRES_PORT: Final = 5432

_REFUSED: Final = re.compile(r"[^\n]*(?:failed: |connecting to \S+\. )(?:(?:FATAL|ERROR): +)?([^\n]+)")
"""The reason in the messages of libpq and redis-py, without the address before it."""
_NO_PRIMARY: Final = re.compile(r"No master found for '(?P<name>[^']*)'(?P<errors>.*)", re.DOTALL)
_SENTINEL_ERROR: Final = re.compile(r"> - (?:\w+:)?(\w+)")
"""What redis-py says when it finds no primary, and the error of each Sentinel in it."""


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
    return hosts_of(url, default_port)


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
    return joined(parts.hostname or "localhost", parts.port or int(port or POSTGRES_PORT))


def redis_address(redis: Any) -> str:
    """Return host and port of the server that a Redis client talks to, or of the Sentinels that it asks."""
    pool = redis.connection_pool
    sentinels = getattr(pool, "sentinel_manager", None)
    clients = [redis] if sentinels is None else sentinels.sentinels
    options = [one.connection_pool.connection_kwargs for one in clients]
    return ",".join(joined(one.get("host", "localhost"), one.get("port", REDIS_PORT)) for one in options)


def reason(error: BaseException) -> str:
    """Return why a service did not answer, in a few words."""
    for one in _chain(error):
        if found := _NO_PRIMARY.match(str(one)):
            return _why_no_primary(found["name"], found["errors"], one.__cause__)
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
        if isinstance(one, TimeoutError) or "timeout" in type(one).__name__.lower():
            return "no answer in time"
    text = str(error).strip()
    if found := _REFUSED.search(text):
        return found[1].rstrip(".")
    return text.splitlines()[0] if text else type(error).__name__


def _why_no_primary(name: str, errors: str, cause: BaseException | None) -> str:
    """Return what redis-py tells in a long line that has all Sentinels in it."""
    if reasons := dict.fromkeys(_SENTINEL_ERROR.findall(errors)):
        told = ", ".join(reasons) if cause is None else reason(cause)
        return f"no Sentinel says which server is the primary `{name}` ({told.rstrip('.')})"
    return f"the Sentinels know no primary `{name}` that is up"


def unusable(service: str, address: str, error: BaseException, setting: str) -> str:
    """Return one line: which service, why it cannot be used, and what to do about it."""
    return f"{service} at {address} cannot be used: {reason(error)}; start it, or correct {setting}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and those that caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
