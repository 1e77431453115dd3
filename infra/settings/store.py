"""Settings for reaching Postgres."""

from typing import Final

from pydantic import field_validator

from infra.settings.base import Settings

SCHEMA: Final = "bbgram"
"""The default of `DATABASE_SCHEMA`."""
_TAKEN: Final = frozenset({"public", "auth", "storage", "realtime", "extensions", "information_schema"})
"""Schemas that hold an app's own tables, or Supabase's."""


class StoreSettings(Settings):
    """Settings of everything that reaches Postgres: workers, functions, migrations."""

    database_url: str
    """`postgresql://` address of the database."""
    database_schema: str = SCHEMA
    """Schema that holds all tables; nothing else may be in it."""
    database_pooled: bool = False
    """Set it to `true` behind a transaction-mode pooler; see [Postgres](#postgres)."""

    @field_validator("database_url")
    @classmethod
    def _driver(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
            raise ValueError("must start with postgresql://")
        return _checked(f"postgresql+psycopg://{rest}")

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


def _checked(address: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(address)
    except (ArgumentError, ValueError):
        raise ValueError(
            "must look like postgresql://user:password@host:5432/database; "
            "percent-encode special characters in the password"
        ) from None
    return address
