"""The settings that the sign-in service shares with the rest of the local stack."""

from pathlib import Path
from typing import Any, Self

from pydantic_settings import BaseSettings, SettingsConfigDict

from infra.settings.base import PREFIX
from infra.settings.store import SCHEMA, PostgresAddress


class SigninSettings(BaseSettings):
    """Settings of the sign-in service, all optional."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    supabase_url: str | None = None
    """Address under which edges reach this service."""
    database_url: PostgresAddress | None = None
    """Database in which sign-up creates chat profiles; none are created without it."""
    database_schema: str = SCHEMA

    @classmethod
    def load(cls, data_dir: Path) -> Self:
        """Read the environment, then `stack.env` in `data_dir` for missing values."""
        source: dict[str, Any] = {"_env_file": data_dir / "stack.env"}
        return cls(**source)
