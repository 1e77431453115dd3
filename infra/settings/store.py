"""Settings for reaching Postgres."""

from typing import Annotated, Final
from urllib.parse import urlencode, urlsplit

from pydantic import AfterValidator, field_validator

from infra.settings.base import Settings

SCHEMA: Final = "bbgram"
"""The default of `DATABASE_SCHEMA`."""
_TAKEN: Final = frozenset({"public", "auth", "storage", "realtime", "extensions", "information_schema"})
"""Schemas that hold an app's own tables, or Supabase's."""


def _driver(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise ValueError("must start with postgresql://")
    return _checked(f"postgresql+psycopg://{rest}")


def _checked(address: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(_with_hosts_as_option(address))
        _, options = url.get_dialect()().create_connect_args(url)
    except (ArgumentError, ValueError):
        raise ValueError(
            "must look like postgresql://user:password@host:5432/database; "
            "percent-encode special characters in the password, and separate several hosts by commas"
        ) from None
    if "," not in str(options.get("host")):
        return address
    # Of several servers, one is the primary, and only that one accepts writes.
    primary = {"target_session_attrs": "read-write", **url.query}
    return url.set(query=primary).render_as_string(hide_password=False)


def _with_hosts_as_option(address: str) -> str:
    """Return the address with several hosts where SQLAlchemy expects them; libpq has them before the path."""
    netloc = urlsplit(address).netloc
    login, at, servers = netloc.rpartition("@")
    if "," not in servers:
        return address
    each = [urlsplit(f"//{server}") for server in servers.split(",")]
    hosts, ports = [one.hostname or "" for one in each], [str(one.port or "") for one in each]
    scheme, _, rest = address.partition(netloc)
    path, _, query = rest.partition("?")
    option = urlencode({"host": ",".join(hosts), "port": ",".join(ports)})
    return f"{scheme}{login}{at}{path}?{option}" + (f"&{query}" if query else "")


PostgresAddress = Annotated[str, AfterValidator(_driver)]
"""The address of a database as SQLAlchemy reads it, given as libpq does; it may name several servers."""


class StoreSettings(Settings):
    """Settings of everything that reaches Postgres: workers, functions, migrations."""

    database_url: PostgresAddress
    """`postgresql://` address of the database. It may name [several servers](#failover)."""
    database_schema: str = SCHEMA
    """Schema that holds all tables; nothing else may be in it."""
    database_pooled: bool = False
    """Set it to `true` behind a transaction-mode pooler; see [Postgres](#postgres)."""

    @field_validator("database_schema")
    @classmethod
    def _own_schema(cls, value: str) -> str:
        if not _is_name(value):
            raise ValueError(
                "must consist of lowercase letters, digits and underscores, and not start with a digit"
            )
        if value in _TAKEN or value.startswith("pg_"):
            raise ValueError(f"must be a schema of the chat's own, and not {value}")
        return value


def _is_name(value: str) -> bool:
    """Tell whether Postgres takes this for a name without quotes, in full."""
    return value.isascii() and value.isidentifier() and value == value.lower() and len(value) <= 63
