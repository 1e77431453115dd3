"""How settings are read: from the environment, prefix `BBGRAM_`. docs/deployment.md lists all settings."""

import os
from collections.abc import Iterator, Sequence
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
    """Settings are missing or wrong. The message has a line for each that names it and says what to do."""

    def __init__(self, *lines: str, not_set: Sequence[str] = ()) -> None:
        self._not_set = [f"{name} is not set." for name in not_set]
        self._lines = lines
        super().__init__("\n".join(self.lines()))

    def lines(self, hint: str = "") -> list[str]:
        """Return the lines. The hint says how to set a required setting that is not set."""
        return [*(f"{line} {hint}".rstrip() for line in self._not_set), *self._lines]


@dataclass(frozen=True, slots=True)
class AtMost:
    """A relation: `low` must not exceed `high`, or must be less than `high` if `less` is set."""

    low: str
    high: str
    because: str
    """What would go wrong otherwise; completes "..., so"."""
    less: bool = False

    def contradiction(self, values: Any) -> str | None:
        """Return a line that names both settings if the relation does not hold."""
        low, high = getattr(values, self.low), getattr(values, self.high)
        if low < high or (low == high and not self.less):
            return None
        relation = "not less" if self.less else "more"
        name, other = variable(self.low), variable(self.high)
        return (
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
        if lines := list(self.contradictions()):
            raise ValueError("\n".join(lines))
        return self

    def contradictions(self) -> Iterator[str]:
        """Yield a line for each setting that does not fit the others."""
        for relation in self.relations:
            if line := relation.contradiction(self):
                yield line

    @classmethod
    def load(cls, env_file: Path | None = None, /, **overrides: Any) -> Self:
        """Read the environment. `env_file`, if given, supplies what is missing there.

        Raises SettingsError. Settings are compared with one another only if each is right by itself.
        """
        try:
            return cls(**{"_env_file": env_file, **overrides})
        except ValidationError as error:
            raise _readable(error) from None


def variable(name: str) -> str:
    """Return the environment variable of a field."""
    return PREFIX + name.upper()


def data_dir() -> Path:
    """Return the data folder: `BBGRAM_DATA_DIR`, or `.bbgram` in the current folder."""
    return Path(os.environ.get(f"{PREFIX}DATA_DIR") or ".bbgram").expanduser().resolve()


def _readable(invalid: ValidationError) -> SettingsError:
    """Turn each error into a line. None quotes a value that may be a secret."""
    not_set, lines = [], []
    for error in invalid.errors():
        if error["type"] == "default_factory_not_called":
            continue  # a default that follows from a wrong setting
        message = _PLAIN.get(error["type"]) or error["msg"].removeprefix("Value error, ")
        if not error["loc"]:
            lines += message.splitlines()
        elif error["type"] == "missing":
            not_set.append(variable(str(error["loc"][0])))
        else:
            name = variable(str(error["loc"][0]))
            lines.append(f"{name} is wrong: {message.replace('Input should be', 'must be', 1)}.")
    return SettingsError(*lines, not_set=not_set)
