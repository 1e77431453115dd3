"""The version of the installation."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _version() -> str:
    try:
        return version("bbgram-chat")
    except PackageNotFoundError:
        return "unknown"


VERSION: Final = _version()
"""As in pyproject.toml; `unknown` where the code was copied instead of installed."""
