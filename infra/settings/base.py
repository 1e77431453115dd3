"""How settings are read: from the environment, prefix `BBGRAM_`. docs/deployment.md lists all settings."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from pydantic import ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "BBGRAM_"


_PLAIN: Final = {
    "bool_parsing": "must be true or false",
    "finite_number": "must be a number",
    "float_parsing": "must be a number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
}
"""Shorter wording than pydantic's, by error type."""


class SettingsError(Exception):
    """A setting is missing or wrong. The message is one line that names it and says what to do."""


class MissingSetting(SettingsError):
    """A required setting is not set."""


@dataclass(frozen=True, slots=True)
class AtMost:
    """A relation: `low` must not exceed `high`, or must be less than `high` if `less` is set."""

    low: str
    high: str
    because: str
    """What would go wrong otherwise; completes "..., so"."""
    less: bool = False

    def check(self, values: Any) -> None:
        """Raise ValueError with a line that names both settings."""
        low, high = getattr(values, self.low), getattr(values, self.high)
        if low > high or (self.less and low == high):
            relation = "not less" if self.less else "more"
            name, other = variable(self.low), variable(self.high)
            raise ValueError(
                f"{name} is wrong: {low:.10g} is {relation} than {other} ({high:.10g}), so {self.because}. "
                f"Lower it, or raise {other}."
            )


class Settings(BaseSettings):
    """Base of all settings classes. The docstring of a field is its text in docs/deployment.md."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
    relations: ClassVar[tuple[AtMost, ...]] = ()

    @field_validator("*", mode="before")
    @classmethod
    def _check_text(cls, value: object) -> object:
        """Refuse bytes that are not UTF-8, which the environment hands over as surrogates."""
        if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            raise ValueError("must be valid UTF-8")
        return value

    @model_validator(mode="after")
    def _check_relations(self) -> Self:
        for relation in self.relations:
            relation.check(self)
        return self

    @classmethod
    def load(cls, env_file: Path | None = None, /, **overrides: Any) -> Self:
        """Read the environment. `env_file`, if given, supplies what is missing there.

        Raises SettingsError for the first setting that is missing or wrong.
        """
        try:
            return cls(**{"_env_file": env_file, **overrides})
        except ValidationError as error:
            raise _first_of(error) from None


def variable(name: str) -> str:
    """Return the environment variable of a field."""
    return PREFIX + name.upper()


def data_dir() -> Path:
    """Return the data folder: `BBGRAM_DATA_DIR`, or `.bbgram` in the current folder."""
    return Path(os.environ.get(f"{PREFIX}DATA_DIR") or ".bbgram").expanduser().resolve()


def _first_of(error: ValidationError) -> SettingsError:
    """Turn the first error into a line. It never quotes a value that may be a secret."""
    first = error.errors()[0]
    if not first["loc"]:
        return SettingsError(first["msg"].removeprefix("Value error, "))
    name = variable(str(first["loc"][0]))
    if first["type"] == "missing":
        return MissingSetting(f"{name} is not set.")
    message = _PLAIN.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    return SettingsError(f"{name} is wrong: {message.replace('Input should be', 'must be', 1)}.")
