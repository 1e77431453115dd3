"""Settings for reaching Postgres."""

from pydantic import field_validator

from infra.settings.base import Settings


class StoreSettings(Settings):
    """Settings of everything that reaches Postgres: workers, functions, migrations."""

    database_url: str
    """`postgresql://` address of the database."""
    database_pooled: bool = False
    """Set it to `true` behind a transaction-mode pooler; see [Postgres](#postgres)."""

    @field_validator("database_url")
    @classmethod
    def _driver(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
            raise ValueError("must start with postgresql://")
        return _checked(f"postgresql+psycopg://{rest}")


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
